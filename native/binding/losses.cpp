#include "binding/args.h"

namespace sn::binding {
namespace {

void softmax_cross_entropy(Args& args) {
  Tensor& logits = args.tensor();
  Tensor& labels = args.tensor();
  const double label_smoothing = args.number();
  Tensor& loss = args.tensor();
  Tensor& dlogits = args.tensor();
  logits.backend().softmax_cross_entropy(logits, labels, label_smoothing, loss, dlogits);
}

AngularSoftmaxSaved angular_softmax_saved(Args& args) {
  AngularSoftmaxSaved saved;
  saved.cosine = args.tensor();
  saved.cosine_gradient = args.tensor();
  saved.norm_gradient = args.tensor();
  saved.inv_feature_norm = args.tensor();
  saved.inv_weight_norm = args.tensor();
  return saved;
}

AngularSoftmaxOptions angular_softmax_options(Args& args) {
  AngularSoftmaxOptions options;
  options.angular = static_cast<Angular>(args.integer());
  options.k = args.number();
  options.margin = args.number();
  options.annealing = args.number();
  options.radius = args.number();
  options.eps = args.number();
  return options;
}

void angular_softmax_forward(Args& args) {
  Tensor& x = args.tensor();
  Tensor& w = args.tensor();
  Tensor& labels = args.tensor();
  Tensor& loss = args.tensor();
  Tensor& logits = args.tensor();
  Tensor& theta = args.tensor();
  const AngularSoftmaxSaved saved = angular_softmax_saved(args);
  x.backend().angular_softmax_forward(x, w, labels, loss, logits, theta, saved, angular_softmax_options(args));
}

void angular_softmax_backward(Args& args) {
  Tensor& x = args.tensor();
  Tensor& w = args.tensor();
  const AngularSoftmaxSaved saved = angular_softmax_saved(args);
  Tensor& dloss = args.tensor();
  Tensor dx = args.optional_tensor();
  Tensor dw = args.optional_tensor();
  x.backend().angular_softmax_backward(x, w, saved, dloss, dx, dw);
}

void orthogonality(Args& args) {
  Tensor& w = args.tensor();
  const bool normalized = args.boolean();
  const double eps = args.number();
  Tensor& loss = args.tensor();
  Tensor& dw = args.tensor();
  w.backend().orthogonality(w, normalized, eps, loss, dw);
}

void count_correct(Args& args) {
  Tensor& logits = args.tensor();
  Tensor& labels = args.tensor();
  const int top = args.integer();
  Tensor& correct = args.tensor();
  logits.backend().count_correct(logits, labels, top, correct);
}

}  // namespace

void expose_losses(Napi::Env env, Napi::Object& exports) {
  expose<softmax_cross_entropy>(env, exports, "softmaxCrossEntropy");
  expose<angular_softmax_forward>(env, exports, "angularSoftmaxForward");
  expose<angular_softmax_backward>(env, exports, "angularSoftmaxBackward");
  expose<orthogonality>(env, exports, "orthogonality");
  expose<count_correct>(env, exports, "countCorrect");
}

}  // namespace sn::binding

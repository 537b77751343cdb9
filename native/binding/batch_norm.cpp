#include "binding/args.h"

namespace sn::binding {
namespace {

void train(Args& args) {
  Tensor& x = args.tensor();
  const Normalization normalization = args.normalization();
  Tensor& running_mean = args.tensor();
  Tensor& running_variance = args.tensor();
  const double momentum = args.number();
  Tensor& y = args.tensor();
  x.backend().batch_statistics(
      x, {normalization.mean, normalization.variance, running_mean, running_variance, momentum});
  x.backend().normalize(x, normalization, y);
}

void infer(Args& args) {
  Tensor& x = args.tensor();
  const Normalization normalization = args.normalization();
  x.backend().normalize(x, normalization, args.tensor());
}

void backward(Args& args) {
  Tensor& x = args.tensor();
  const Normalization normalization = args.normalization();
  Tensor& dy = args.tensor();
  Tensor& dx = args.tensor();
  Tensor& dgamma = args.tensor();
  Tensor& dbeta = args.tensor();
  x.backend().normalize_backward(x, normalization, dy, dx, dgamma, dbeta, args.tensor());
}

}  // namespace

void expose_batch_norm(Napi::Env env, Napi::Object& exports) {
  expose<train>(env, exports, "batchNormTrain");
  expose<infer>(env, exports, "batchNormInfer");
  expose<backward>(env, exports, "batchNormBackward");
}

}  // namespace sn::binding

#include "binding/args.h"

namespace sn::binding {
namespace {

void train(Args& args) {
  Tensor& x = args.tensor();
  Tensor& gamma = args.tensor();
  Tensor& beta = args.tensor();
  Tensor& running_mean = args.tensor();
  Tensor& running_variance = args.tensor();
  Tensor& y = args.tensor();
  Tensor& mean = args.tensor();
  Tensor& variance = args.tensor();
  BatchNormOptions options{};
  options.eps = args.number();
  options.momentum = args.number();
  options.relu = args.boolean();
  x.backend().batch_norm_train(x, gamma, beta, running_mean, running_variance, y, mean, variance, options);
}

// What inference and backward share: they leave the running statistics alone.
BatchNormOptions fixed_options(Args& args) {
  BatchNormOptions options{};
  options.eps = args.number();
  options.relu = args.boolean();
  return options;
}

void infer(Args& args) {
  Tensor& x = args.tensor();
  Tensor& gamma = args.tensor();
  Tensor& beta = args.tensor();
  Tensor& running_mean = args.tensor();
  Tensor& running_variance = args.tensor();
  Tensor& y = args.tensor();
  x.backend().batch_norm_infer(x, gamma, beta, running_mean, running_variance, y, fixed_options(args));
}

void backward(Args& args) {
  Tensor& x = args.tensor();
  Tensor& gamma = args.tensor();
  Tensor& mean = args.tensor();
  Tensor& variance = args.tensor();
  Tensor& y = args.tensor();
  Tensor& dy = args.tensor();
  Tensor& dx = args.tensor();
  Tensor& dgamma = args.tensor();
  Tensor& dbeta = args.tensor();
  x.backend().batch_norm_backward(x, gamma, mean, variance, y, dy, dx, dgamma, dbeta, fixed_options(args));
}

}  // namespace

void expose_batch_norm(Napi::Env env, Napi::Object& exports) {
  expose<train>(env, exports, "batchNormTrain");
  expose<infer>(env, exports, "batchNormInfer");
  expose<backward>(env, exports, "batchNormBackward");
}

}  // namespace sn::binding

#include "binding/args.h"

namespace sn::binding {
namespace {

void adam_step(Args& args) {
  const std::vector<Tensor> parameters = args.tensors();
  const std::vector<Tensor> gradients = args.tensors();
  const std::vector<Tensor> first_moments = args.tensors();
  const std::vector<Tensor> second_moments = args.tensors();
  AdamOptions options;
  options.learning_rate = args.number();
  options.beta1 = args.number();
  options.beta2 = args.number();
  options.eps = args.number();
  options.weight_decay = args.number();
  options.step = args.number();
  options.decoupled = args.boolean();
  if (parameters.empty()) return;
  parameters.front().backend().adam_step(parameters, gradients, first_moments, second_moments, options);
}

void sgd_step(Args& args) {
  const std::vector<Tensor> parameters = args.tensors();
  const std::vector<Tensor> gradients = args.tensors();
  const std::vector<Tensor> velocities = args.tensors();
  SgdOptions options;
  options.learning_rate = args.number();
  options.momentum = args.number();
  options.weight_decay = args.number();
  options.nesterov = args.boolean();
  options.first = args.boolean();
  if (parameters.empty()) return;
  parameters.front().backend().sgd_step(parameters, gradients, velocities, options);
}

void global_norm(Args& args) {
  const std::vector<Tensor> tensors = args.tensors();
  Tensor& out = args.tensor();
  out.backend().global_norm(tensors, out);
}

}  // namespace

void expose_optimizers(Napi::Env env, Napi::Object& exports) {
  expose<adam_step>(env, exports, "adamStep");
  expose<sgd_step>(env, exports, "sgdStep");
  expose<global_norm>(env, exports, "globalNorm");
}

}  // namespace sn::binding

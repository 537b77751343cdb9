#include <napi.h>

#include "binding/args.h"
#include "binding/environment.h"
#include "cpu/backend.h"
#include "cuda/device.h"

namespace sn::binding {

Environment::Environment() : cpu_(std::make_unique<cpu::CpuBackend>()) {}

Backend& Environment::cuda() {
  if (!cuda_) {
    cuda_ = cuda::make_backend();
    cuda_->set_matmul_precision(precision_);
  }
  return *cuda_;
}

void Environment::set_matmul_precision(Precision precision) {
  precision_ = precision;
  cpu_->set_matmul_precision(precision);
  if (cuda_) cuda_->set_matmul_precision(precision);
}

Environment& environment(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

namespace {

void set_error_classes(Args& args) {
  Napi::Value value = args.value();
  if (!value.IsObject()) throw Error(ErrorCode::option, "classes", "classes must be an object");
  auto classes = value.As<Napi::Object>();
  const std::pair<const char*, ErrorCode> names[] = {
      {"shape", ErrorCode::shape},   {"dtype", ErrorCode::dtype}, {"device", ErrorCode::device},
      {"option", ErrorCode::option}, {"data", ErrorCode::data},   {"disposed", ErrorCode::disposed},
  };
  auto& table = environment(args.env()).error_classes();
  for (const auto& [name, code] : names) {
    table[code] = Napi::Persistent(classes.Get(name).As<Napi::Function>());
  }
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Environment());
  expose<set_error_classes>(env, exports, "setErrorClasses");
  expose_info(env, exports);
  expose_graph(env, exports);
  expose_tensor(env, exports);
  expose_conv2d(env, exports);
  expose_sphere_conv2d(env, exports);
  expose_matmul(env, exports);
  expose_pooling(env, exports);
  expose_batch_norm(env, exports);
  expose_elementwise(env, exports);
  expose_losses(env, exports);
  expose_optimizers(env, exports);
  expose_images(env, exports);
  return exports;
}

}  // namespace
}  // namespace sn::binding

static Napi::Object init_spherenet(Napi::Env env, Napi::Object exports) {
  return sn::binding::initialize(env, exports);
}
NODE_API_MODULE(spherenet, init_spherenet)

#include <omp.h>

#include <string>

#include "binding/args.h"
#include "binding/environment.h"
#include "cuda/presence.h"

namespace sn::binding {
namespace {

Napi::Value info(Args& args) {
  Napi::Env env = args.env();
  const DeviceInfo cpu = environment(env).cpu().info();
  auto object = Napi::Object::New(env);
  object.Set("onednn", cpu.library);
  object.Set("isa", cpu.isa);
  object.Set("threads", omp_get_max_threads());
  auto cuda = Napi::Object::New(env);
  const cuda::Presence presence = cuda::presence();
  cuda.Set("compiled", false);
  cuda.Set("available", false);
  cuda.Set("driver", presence.driver);
  cuda.Set("devices", presence.devices);
  cuda.Set("reason", presence.summary + "; this version of spherenet has no cuda device yet");
  object.Set("cuda", cuda);
  return object;
}

Napi::Value benchmark_convolution(Args& args) {
  Tensor& x = args.tensor();
  Tensor& w = args.tensor();
  Tensor& y = args.tensor();
  const ConvGeometry geometry = args.conv_geometry(w);
  const auto times = environment(args.env()).cpu().benchmark_convolution(x, w, y, geometry, args.integer());
  auto result = Napi::Float64Array::New(args.env(), times.size());
  std::copy(times.begin(), times.end(), result.Data());
  return result;
}

}  // namespace

void expose_info(Napi::Env env, Napi::Object& exports) {
  expose<info>(env, exports, "info");
  expose<benchmark_convolution>(env, exports, "benchmarkConvolution");
}

}  // namespace sn::binding

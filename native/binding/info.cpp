#include <omp.h>

#include <string>

#include "binding/args.h"
#include "binding/environment.h"
#include "cuda/device.h"

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
  const cuda::Availability found = cuda::availability();
  cuda.Set("compiled", found.compiled);
  cuda.Set("available", found.available);
  cuda.Set("emulated", found.emulated);
  cuda.Set("driver", found.driver);
  cuda.Set("devices", found.devices);
  cuda.Set("reason", found.reason);
  const auto text_or_null = [&](const std::string& text) -> Napi::Value {
    if (text.empty()) return env.Null();
    return Napi::String::New(env, text);
  };
  cuda.Set("name", text_or_null(found.name));
  cuda.Set("computeCapability", text_or_null(found.compute_capability));
  cuda.Set("memoryBytes", static_cast<double>(found.memory_bytes));
  cuda.Set("cublas", text_or_null(found.cublas));
  cuda.Set("library", text_or_null(found.library));
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

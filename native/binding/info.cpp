#include <omp.h>

#include <string>

#include "binding/call.h"
#include "binding/structs.h"
#include "cpu/device.h"
#include "cuda/device.h"

namespace sn::binding {
namespace {

Napi::Value info(Args& args) {
  Napi::Env env = args.env();
  const DeviceInfo cpu = environment(env).device("cpu")->info();
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

// OpenMP keeps the number by the thread that calls the operators, and each environment has its own.
void set_threads(Args& args) {
  const int count = checked_number<int>(args.number());
  if (count < 1 || count > 1024) throw Error(ErrorCode::option, "threads", "threads must be from 1 to 1024");
  omp_set_num_threads(count);
}

Napi::Value benchmark_convolution(Args& args) {
  const Tensor &x = args.tensor(), &w = args.tensor(), &y = args.tensor();
  ConvGeometry geometry;
  read_struct(args, geometry);
  const int repeats = checked_number<int>(args.number());
  Backend& cpu = *environment(args.env()).device("cpu");
  if (args.operands_device() != &cpu) {
    throw Error(ErrorCode::device, "device", "the bare library's convolution is timed on the cpu only");
  }
  const auto times = cpu::benchmark_convolution(cpu, x, w, y, geometry, repeats);
  auto result = Napi::Float64Array::New(args.env(), times.size());
  std::copy(times.begin(), times.end(), result.Data());
  return result;
}

}  // namespace

void expose_info(Exports& exports) {
  exports.add<info>("info");
  exports.add<set_threads>("setThreads");
  exports.add<benchmark_convolution>("benchmarkConvolution");
}

}  // namespace sn::binding

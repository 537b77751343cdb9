#include "binding/args.h"
#include "binding/environment.h"

namespace sn::binding {

Napi::Value make_handle(Napi::Env env, Tensor tensor) {
  const auto weight = tensor.storage.use_count() > 1 ? 0 : static_cast<std::int64_t>(tensor.bytes());
  auto* box = new HandleBox{std::move(tensor), weight, environment(env).memory_report()};
  box->report->take(env, weight);
  return Napi::External<HandleBox>::New(env, box, [](Napi::BasicEnv finalizer_env, HandleBox* dead) {
    if (dead->tensor) dead->report->collected(finalizer_env, dead->weight);
    delete dead;
  });
}

namespace {

DType parse_dtype(const std::string& name) {
  if (name == "f32") return DType::f32;
  if (name == "f64") return DType::f64;
  if (name == "i32") return DType::i32;
  if (name == "u8") return DType::u8;
  throw Error(ErrorCode::dtype, "dtype", "dtype must be f32, f64, i32 or u8, but got " + name);
}

Napi::Value empty(Args& args) {
  Tensor tensor;
  tensor.dtype = parse_dtype(args.string());
  tensor.shape = args.shape();
  tensor.storage = environment(args.env()).cpu().allocate(tensor.bytes());
  return make_handle(args.env(), std::move(tensor));
}

Napi::Value alias(Args& args) {
  Tensor view = args.tensor();
  view.shape = args.shape();
  return make_handle(args.env(), std::move(view));
}

void release(Args& args) {
  HandleBox& box = args.box();
  if (!box.tensor) return;
  box.report->release(box.weight);
  box.tensor = {};
}

// The bytes of a typed array that must hold exactly what the tensor does.
void* matching_bytes(Napi::Value value, const Tensor& tensor) {
  if (!value.IsTypedArray()) throw Error(ErrorCode::dtype, "array", "a typed array is expected");
  auto array = value.As<Napi::TypedArray>();
  if (array.ByteLength() != tensor.bytes()) {
    throw Error(ErrorCode::shape, "array",
                "the array has " + std::to_string(array.ByteLength()) + " bytes, the tensor " +
                    std::to_string(tensor.bytes()));
  }
  return static_cast<uint8_t*>(array.ArrayBuffer().Data()) + array.ByteOffset();
}

void write(Args& args) {
  Napi::Value from = args.value();
  Tensor& to = args.tensor();
  to.backend().write(matching_bytes(from, to), to);
}

void read(Args& args) {
  Tensor& from = args.tensor();
  from.backend().read(from, matching_bytes(args.value(), from));
}

void copy(Args& args) {
  Tensor& from = args.tensor();
  Tensor& to = args.tensor();
  to.backend().copy(from, to);
}

void fill(Args& args) {
  const double value = args.number();
  Tensor& to = args.tensor();
  to.backend().fill(value, to);
}

void cast(Args& args) {
  Tensor& from = args.tensor();
  Tensor& to = args.tensor();
  to.backend().cast(from, to);
}

Napi::Value memory_stats(Args& args) {
  const MemoryStats stats = environment(args.env()).cpu().memory_stats();
  auto object = Napi::Object::New(args.env());
  object.Set("allocated", static_cast<double>(stats.allocated));
  object.Set("reserved", static_cast<double>(stats.reserved));
  object.Set("peak", static_cast<double>(stats.peak));
  object.Set("storages", static_cast<double>(stats.storages));
  return object;
}

void reset_peak(Args& args) { environment(args.env()).cpu().reset_peak(); }
void release_cache(Args& args) { environment(args.env()).cpu().release_cache(); }

}  // namespace

void expose_tensor(Napi::Env env, Napi::Object& exports) {
  expose<empty>(env, exports, "empty");
  expose<alias>(env, exports, "alias");
  expose<release>(env, exports, "release");
  expose<write>(env, exports, "write");
  expose<read>(env, exports, "read");
  expose<copy>(env, exports, "copy");
  expose<fill>(env, exports, "fill");
  expose<cast>(env, exports, "cast");
  expose<memory_stats>(env, exports, "memoryStats");
  expose<reset_peak>(env, exports, "resetPeak");
  expose<release_cache>(env, exports, "releaseCache");
}

}  // namespace sn::binding

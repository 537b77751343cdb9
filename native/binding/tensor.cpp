#include "binding/args.h"
#include "binding/environment.h"

namespace sn::binding {

namespace {

void fill_box(Napi::Env env, HandleBox& box, Tensor tensor) {
  box.weight = tensor.storage.use_count() > 1 ? 0 : static_cast<std::int64_t>(tensor.bytes());
  box.tensor = std::move(tensor);
  box.report->take(env, box.weight);
}

}  // namespace

Napi::Value make_handle(Napi::Env env, Tensor tensor) {
  auto* box = new HandleBox{BoxKind::tensor, {}, 0, environment(env).memory_report()};
  fill_box(env, *box, std::move(tensor));
  return Napi::External<HandleBox>::New(env, box, [](Napi::BasicEnv finalizer_env, HandleBox* dead) {
    if (dead->tensor) dead->report->collected(finalizer_env, dead->weight);
    delete dead;
  });
}

Napi::Value Args::filled_handle(Tensor tensor) {
  const Napi::Value spare = info_[next_];
  if (spare.IsUndefined()) return make_handle(env(), std::move(tensor));
  HandleBox& released = box();
  if (released.tensor) throw Error(ErrorCode::option, "spare", "a handle can be filled again only after its release");
  fill_box(env(), released, std::move(tensor));
  return spare;
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
  Backend& device = args.device();
  Tensor tensor;
  tensor.dtype = parse_dtype(args.name());
  tensor.shape = args.shape();
  tensor.storage = device.allocate(tensor.bytes());
  return args.filled_handle(std::move(tensor));
}

Napi::Value alias(Args& args) {
  Tensor view = args.tensor();
  view.shape = args.shape();
  return args.filled_handle(std::move(view));
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

void require_same_bytes(const Tensor& from, const Tensor& to) {
  if (from.dtype == to.dtype && from.bytes() == to.bytes()) return;
  throw Error(ErrorCode::shape, "to", "a copy needs two tensors of one size and type");
}

// Between devices one of the two is the host's memory.
void copy(Args& args) {
  Tensor& from = args.tensor();
  Tensor& to = args.tensor();
  require_same_bytes(from, to);
  Backend& cpu = environment(args.env()).cpu();
  if (&from.backend() == &to.backend()) return to.backend().copy(from, to);
  if (&from.backend() == &cpu) return to.backend().write(from.read<void>(), to);
  from.backend().read(from, to.write<void>());
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
  const MemoryStats stats = args.device().memory_stats();
  auto object = Napi::Object::New(args.env());
  object.Set("allocated", static_cast<double>(stats.allocated));
  object.Set("reserved", static_cast<double>(stats.reserved));
  object.Set("peak", static_cast<double>(stats.peak));
  object.Set("storages", static_cast<double>(stats.storages));
  return object;
}

void reset_peak(Args& args) { args.device().reset_peak(); }
void release_cache(Args& args) { args.device().release_cache(); }
void synchronize(Args& args) { args.device().synchronize(); }

void set_matmul_precision(Args& args) {
  const int code = args.integer();
  if (code < 0 || code > 2) throw Error(ErrorCode::option, "precision", "precision must be 0, 1 or 2");
  environment(args.env()).set_matmul_precision(static_cast<Precision>(code));
}

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
  expose<synchronize>(env, exports, "synchronize");
  expose<set_matmul_precision>(env, exports, "setMatmulPrecision");
}

}  // namespace sn::binding

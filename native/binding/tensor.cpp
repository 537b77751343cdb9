#include <iterator>

#include "binding/call.h"
#include "binding/structs.h"

namespace sn::binding {

Napi::Value Args::filled_handle(Tensor tensor) {
  const Napi::Value spare = info_[next_];
  if (spare.IsUndefined()) return handles_.make(env(), std::move(tensor));
  TensorBox& released = box();
  if (released.tensor) throw Error(ErrorCode::option, "spare", "a handle can be filled again only after its release");
  handles_.fill(env(), released, std::move(tensor));
  return spare;
}

namespace {

DType parse_dtype(const std::string& name) {
  for (int i = 0; i < dtype_count; ++i) {
    if (name == name_of(static_cast<DType>(i))) return static_cast<DType>(i);
  }
  throw Error(ErrorCode::dtype, "dtype", "there is no dtype " + name);
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
  Tensor view = args.any_tensor();
  const std::int64_t elements = view.count();
  view.shape = args.shape();
  if (view.count() != elements) {
    throw Error(ErrorCode::shape, "shape", "an alias has as many elements as its tensor, " + std::to_string(elements));
  }
  return args.filled_handle(std::move(view));
}

void release(Args& args) { environment(args.env()).handles().release(args.box()); }

// The bytes of a typed array that must hold exactly what the tensor does.
void* matching_bytes(Napi::Value value, const Tensor& tensor) {
  void* data = nullptr;
  if (napi_get_typedarray_info(value.Env(), value, nullptr, nullptr, &data, nullptr, nullptr) != napi_ok) {
    throw Error(ErrorCode::dtype, "array", "a typed array is expected");
  }
  auto array = value.As<Napi::TypedArray>();
  if (array.ByteLength() != tensor.bytes()) {
    throw Error(ErrorCode::shape, "array",
                "the array has " + std::to_string(array.ByteLength()) + " bytes, the tensor " +
                    std::to_string(tensor.bytes()));
  }
  return data;  // also of shared memory, of which there is no Napi::ArrayBuffer
}

void write(Args& args) {
  Napi::Value from = args.value();
  const Tensor to = args.any_tensor();
  to.backend().write(matching_bytes(from, to), to);
}

void read(Args& args) {
  const Tensor from = args.any_tensor();
  from.backend().read(from, matching_bytes(args.value(), from));
}

void require_same_bytes(const Tensor& from, const Tensor& to) {
  if (from.dtype == to.dtype && from.bytes() == to.bytes()) return;
  throw Error(ErrorCode::shape, "to", "a copy needs two tensors of one size and type");
}

// Between devices one of the two is the host's memory.
void copy(Args& args) {
  const Tensor &from = args.live_tensor(), &to = args.live_tensor();
  require_same_bytes(from, to);
  Backend& cpu = *environment(args.env()).device("cpu");
  if (&from.backend() == &to.backend()) return to.backend().copy(from, to);
  if (&from.backend() == &cpu) return to.backend().write(from.read<void>(), to);
  from.backend().read(from, to.write<void>());
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
  const int code = checked_number<int>(args.number());
  if (code < 0 || code >= static_cast<int>(std::size(precision_names))) {
    throw Error(ErrorCode::option, "precision", "there is no precision of code " + std::to_string(code));
  }
  environment(args.env()).set_matmul_precision(static_cast<Precision>(code));
}

}  // namespace

void expose_tensor(Exports& exports) {
  exports.add<empty>("empty");
  exports.add<alias>("alias");
  exports.add<release>("release");
  exports.add<write>("write");
  exports.add<read>("read");
  exports.add<copy>("copy");
  exports.add<memory_stats>("memoryStats");
  exports.add<reset_peak>("resetPeak");
  exports.add<release_cache>("releaseCache");
  exports.add<synchronize>("synchronize");
  exports.add<set_matmul_precision>("setMatmulPrecision");
}

}  // namespace sn::binding

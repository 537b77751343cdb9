#include "binding/args.h"

#include <algorithm>

namespace sn::binding {

std::string Args::argument_name() const {
  const size_t argument = next_ - 1;
  return names_ != nullptr ? names_->name(argument) : "argument " + std::to_string(argument + 1);
}

void Args::wrong(const char* expected) const {
  const std::string name = argument_name();
  throw Error(ErrorCode::option, name,
              "native " + std::string(names_ != nullptr ? "argument " : "") + name + " must be " + expected);
}

TensorBox& Args::box() {
  TensorBox* found = handles_.tensor_box(env(), info_[next_++]);
  if (found == nullptr) wrong("a tensor handle");
  return *found;
}

Tensor& Args::live(TensorBox* box) const {
  if (box == nullptr) wrong("a tensor handle");
  if (!box->tensor) throw Error(ErrorCode::disposed, "tensor", "a tensor was used after it had been disposed");
  return box->tensor;
}

Tensor& Args::operand(Tensor& tensor) {
  Backend& device = tensor.backend();
  if (device_ == nullptr) device_ = &device;
  if (device_ != &device) {
    const std::string name = argument_name();
    throw Error(ErrorCode::device, name,
                name + " is on " + device.name() + ", the tensors before it are on " + device_->name());
  }
  return tensor;
}

Tensor& Args::agreeing(Tensor& tensor) {
  if (tensor.dtype != DType::f32 && tensor.dtype != DType::f64) {
    const std::string name = argument_name();
    throw Error(ErrorCode::dtype, name, name + " must be f32 or f64, but is " + name_of(tensor.dtype));
  }
  if (first_ == nullptr) first_ = &tensor;
  if (first_->dtype != tensor.dtype) {
    const std::string name = argument_name();
    throw Error(ErrorCode::dtype, name,
                name + " is " + name_of(tensor.dtype) + ", but the tensors before it are " + name_of(first_->dtype));
  }
  return tensor;
}

OptionalTensor Args::optional_tensor() {
  if (is_absent()) {
    ++next_;
    return {};
  }
  return tensor();
}

IndexTensor Args::index_tensor() {
  Tensor& tensor = next_operand();
  if (tensor.dtype != DType::i32) {
    const std::string name = argument_name();
    throw Error(ErrorCode::dtype, name, name + " must be i32, but is " + name_of(tensor.dtype));
  }
  return {tensor};
}

std::vector<Tensor> Args::tensors() { return list(false); }

OptionalTensors Args::optional_tensors() { return {list(true)}; }

std::vector<Tensor> Args::list(bool may_be_empty) {
  Napi::Value value = info_[next_++];
  if (!value.IsArray()) wrong("an array of tensor handles");
  auto array = value.As<Napi::Array>();
  const uint32_t length = array.Length();
  if (list_length_ == no_list) list_length_ = length;
  if (length != list_length_ && !(may_be_empty && length == 0)) wrong("as long as the first list of tensors");
  std::vector<Tensor> tensors;
  tensors.reserve(length);
  for (uint32_t i = 0; i < length; ++i) {
    tensors.push_back(agreeing(operand(live(handles_.tensor_box(env(), array.Get(i))))));
  }
  return tensors;
}

bool Args::is_absent() const {
  if (next_ >= info_.Length()) return true;
  napi_valuetype type = napi_undefined;
  napi_typeof(info_.Env(), info_[next_], &type);
  return type == napi_null || type == napi_undefined;
}

void Args::skip_absent(std::size_t arguments) {
  for (std::size_t i = 0; i < arguments; ++i) {
    const bool absent = is_absent();
    ++next_;
    if (!absent) wrong("null, as the first of its group is");
  }
}

double Args::number() {
  double result = 0;
  if (napi_get_value_double(env(), info_[next_++], &result) != napi_ok) wrong("a number");
  return result;
}

bool Args::boolean() {
  bool result = false;
  if (napi_get_value_bool(env(), info_[next_++], &result) != napi_ok) wrong("a boolean");
  return result;
}

std::string Args::name() {
  char text[16];
  size_t length = 0;
  if (napi_get_value_string_latin1(env(), info_[next_++], text, sizeof text, &length) != napi_ok) wrong("a string");
  return {text, length};
}

Backend& Args::device() {
  Backend* found = environment(env()).device(name());
  if (found == nullptr) wrong("the name of a device");
  return *found;
}

Shape Args::shape() {
  Napi::Value value = info_[next_++];
  if (!value.IsArray()) wrong("an array of extents");
  auto array = value.As<Napi::Array>();
  const uint32_t rank = array.Length();
  if (rank > static_cast<uint32_t>(Shape::max_rank)) wrong("a shape of at most 6 axes");
  Shape shape;
  constexpr double most_elements = 0x1p59;  // beyond it sizes in bytes would not fit 64 bits
  double elements = 1;
  for (uint32_t i = 0; i < rank; ++i) {
    std::int64_t extent = 0;
    if (napi_get_value_int64(env(), array.Get(i), &extent) != napi_ok || extent < 0) wrong("an array of extents");
    shape.push(extent);
    elements *= std::max(static_cast<double>(extent), 1.0);
  }
  if (elements > most_elements) wrong("an array of extents whose product memory can hold");
  return shape;
}

const double* Args::packed(std::size_t count) {
  napi_typedarray_type type{};
  size_t length = 0;
  void* data = nullptr;
  const napi_status status = napi_get_typedarray_info(env(), info_[next_++], &type, &length, &data, nullptr, nullptr);
  if (status != napi_ok || type != napi_float64_array || length != count) wrong("the packed numbers of its struct");
  return static_cast<const double*>(data);
}

}  // namespace sn::binding

#include "binding/args.h"

#include "binding/environment.h"

namespace sn::binding {
namespace {

HandleBox* box_of(napi_env env, napi_value value) {
  void* data = nullptr;
  if (napi_get_value_external(env, value, &data) != napi_ok) return nullptr;
  auto* box = static_cast<HandleBox*>(data);
  return box->kind == BoxKind::tensor ? box : nullptr;
}

Tensor& tensor_in(HandleBox& box) {
  if (!box.tensor) throw Error(ErrorCode::disposed, "tensor", "a tensor was used after it had been disposed");
  return box.tensor;
}

}  // namespace

void Args::wrong(const char* expected) {
  throw Error(ErrorCode::option, "argument " + std::to_string(next_),
              "native argument " + std::to_string(next_) + " must be " + expected);
}

HandleBox& Args::box() {
  HandleBox* found = box_of(env(), info_[next_++]);
  if (found == nullptr) wrong("a tensor handle");
  return *found;
}

Tensor& Args::tensor() { return tensor_in(box()); }

Tensor Args::optional_tensor() {
  Napi::Value value = info_[next_];
  if (value.IsNull() || value.IsUndefined()) {
    ++next_;
    return {};
  }
  return tensor();
}

std::vector<Tensor> Args::tensors() {
  Napi::Value value = info_[next_++];
  if (!value.IsArray()) wrong("an array of tensor handles");
  auto array = value.As<Napi::Array>();
  const uint32_t length = array.Length();
  std::vector<Tensor> tensors;
  tensors.reserve(length);
  for (uint32_t i = 0; i < length; ++i) {
    HandleBox* box = box_of(env(), array.Get(i));
    if (box == nullptr) wrong("an array of tensor handles");
    tensors.push_back(tensor_in(*box));
  }
  return tensors;
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
  const std::string device_name = name();
  if (device_name == "cpu") return environment(env()).cpu();
  if (device_name == "cuda") return environment(env()).cuda();
  wrong("cpu or cuda");
}

Shape Args::shape() {
  Napi::Value value = info_[next_++];
  if (!value.IsArray()) wrong("an array of extents");
  auto array = value.As<Napi::Array>();
  const uint32_t rank = array.Length();
  if (rank > static_cast<uint32_t>(Shape::max_rank)) wrong("a shape of at most 6 axes");
  Shape shape;
  for (uint32_t i = 0; i < rank; ++i) {
    std::int64_t extent = 0;
    if (napi_get_value_int64(env(), array.Get(i), &extent) != napi_ok) wrong("an array of extents");
    shape.push(extent);
  }
  return shape;
}

ConvGeometry Args::conv_geometry(const Tensor& w) {
  Napi::Value value = info_[next_++];
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().ElementLength() != 7) wrong("a geometry of 7 integers");
  const int32_t* g = value.As<Napi::Int32Array>().Data();
  ConvGeometry geometry;
  geometry.kernel_h = static_cast<int>(w.shape[1]);
  geometry.kernel_w = static_cast<int>(w.shape[2]);
  geometry.stride_h = g[0];
  geometry.stride_w = g[1];
  geometry.padding_h = g[2];
  geometry.padding_w = g[3];
  geometry.dilation_h = g[4];
  geometry.dilation_w = g[5];
  geometry.groups = g[6];
  return geometry;
}

Window Args::pool_geometry() {
  Napi::Value value = info_[next_++];
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().ElementLength() != 6) wrong("a geometry of 6 integers");
  const int32_t* g = value.As<Napi::Int32Array>().Data();
  return {g[0], g[1], g[2], g[3], g[4], g[5], 1, 1};
}

Normalization Args::normalization() { return {tensor(), tensor(), tensor(), tensor(), number(), boolean()}; }

Normalization Args::optional_normalization() {
  Napi::Value value = info_[next_];
  if (!value.IsNull()) return normalization();
  ++next_;
  return {};
}

Napi::Error to_javascript(Napi::Env env, const Error& error) {
  auto& classes = environment(env).error_classes();
  auto found = classes.find(error.code());
  if (found == classes.end()) return Napi::Error::New(env, error.what());
  Napi::Object object =
      found->second.New({Napi::String::New(env, error.argument()), Napi::String::New(env, error.what())});
  return Napi::Error(env, object);
}

}  // namespace sn::binding

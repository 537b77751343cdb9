#include "binding/args.h"

#include "binding/environment.h"

namespace sn::binding {

void Args::wrong(const char* expected) {
  throw Error(ErrorCode::option, "argument " + std::to_string(next_),
              "native argument " + std::to_string(next_) + " must be " + expected);
}

HandleBox& Args::box() {
  napi_value value = info_[next_++];
  void* data = nullptr;
  if (napi_get_value_external(env(), value, &data) != napi_ok) wrong("a tensor handle");
  return *static_cast<HandleBox*>(data);
}

Tensor& Args::tensor() {
  HandleBox& found = box();
  if (!found.tensor) {
    throw Error(ErrorCode::disposed, "tensor", "a tensor was used after it had been disposed");
  }
  return found.tensor;
}

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
  std::vector<Tensor> tensors;
  tensors.reserve(array.Length());
  for (uint32_t i = 0; i < array.Length(); ++i) {
    Napi::Value element = array.Get(i);
    if (!element.IsExternal()) wrong("an array of tensor handles");
    const Tensor& tensor = element.As<Napi::External<HandleBox>>().Data()->tensor;
    if (!tensor) throw Error(ErrorCode::disposed, "tensor", "a tensor was used after it had been disposed");
    tensors.push_back(tensor);
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

std::string Args::string() {
  Napi::Value value = info_[next_++];
  if (!value.IsString()) wrong("a string");
  return value.As<Napi::String>();
}

Shape Args::shape() {
  Napi::Value value = info_[next_++];
  if (!value.IsArray()) wrong("an array of extents");
  auto array = value.As<Napi::Array>();
  if (array.Length() > static_cast<uint32_t>(Shape::max_rank)) wrong("a shape of at most 6 axes");
  Shape shape;
  for (uint32_t i = 0; i < array.Length(); ++i) shape.push(array.Get(i).ToNumber().Int64Value());
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

Napi::Error to_javascript(Napi::Env env, const Error& error) {
  auto& classes = environment(env).error_classes();
  auto found = classes.find(error.code());
  if (found == classes.end()) return Napi::Error::New(env, error.what());
  Napi::Object object =
      found->second.New({Napi::String::New(env, error.argument()), Napi::String::New(env, error.what())});
  return Napi::Error(env, object);
}

}  // namespace sn::binding

// From a dtype at run time to a template argument.
#pragma once

#include "core/error.h"
#include "core/tensor.h"
#include "math/rounding.h"

namespace sn {

// Calls function(T{}) for the floating type of `dtype`.
template <typename Function>
auto by_dtype(DType dtype, Function&& function) {
  switch (dtype) {
    case DType::f32: return function(float{});
    case DType::f64: return function(double{});
    default: throw Error(ErrorCode::dtype, "dtype", "this operator takes f32 or f64 tensors");
  }
}

template <typename Function>
void by_any_dtype(DType dtype, Function&& function) {
  switch (dtype) {
    case DType::f32: return function(float{});
    case DType::f64: return function(double{});
    case DType::i32: return function(std::int32_t{});
    case DType::u8: return function(std::uint8_t{});
    case DType::bf16: return function(math::Bfloat16{});
  }
}

}  // namespace sn

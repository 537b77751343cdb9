// From a runtime dtype to a template argument.
#pragma once

#include "core/error.h"
#include "core/tensor.h"

namespace sn::cpu {

// Calls function(T{}) for the floating type of `dtype`.
template <typename Function>
auto by_dtype(DType dtype, Function&& function) {
  switch (dtype) {
    case DType::f32: return function(float{});
    case DType::f64: return function(double{});
    default: throw Error(ErrorCode::dtype, "dtype", "this operator takes f32 or f64 tensors");
  }
}

}  // namespace sn::cpu

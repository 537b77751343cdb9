// In what form a convolution's operands go into a product. Norms are taken of what the product sees: with TF32 or
// bfloat16 that is worth 3 to 100 times in the accuracy of small angles (docs/maths.md: backward).
#pragma once

#include <type_traits>

#include "core/backend.h"
#include "math/rounding.h"

namespace sn::cuda {

template <typename T>
struct ExactOperand {
  using Value = T;
  using Element = T;
  static constexpr DType element_dtype = std::is_same_v<T, float> ? DType::f32 : DType::f64;
  static constexpr bool rounded = false;
  static constexpr Precision precision = Precision::fp32;
  static SN_HD_MEMBER Element element(T value) { return value; }
  static SN_HD_MEMBER T value(Element element) { return element; }
};

struct Tf32Operand {
  using Value = float;
  using Element = float;
  static constexpr DType element_dtype = DType::f32;
  static constexpr bool rounded = true;
  static constexpr Precision precision = Precision::tf32;
  static SN_HD_MEMBER Element element(float value) { return math::round_to_tf32(value); }
  static SN_HD_MEMBER float value(Element element) { return element; }
};

struct Bf16Operand {
  using Value = float;
  using Element = math::Bfloat16;
  static constexpr DType element_dtype = DType::bf16;
  static constexpr bool rounded = true;
  static constexpr Precision precision = Precision::bf16;
  static SN_HD_MEMBER Element element(float value) { return math::to_bfloat16(value); }
  static SN_HD_MEMBER float value(Element element) { return math::to_float(element); }
};

// Calls function(Operand{}) for tensors of `dtype` at that precision.
template <typename Function>
void by_operand(DType dtype, Precision precision, Function&& function) {
  if (dtype == DType::f64) return function(ExactOperand<double>{});
  switch (precision) {
    case Precision::fp32: return function(ExactOperand<float>{});
    case Precision::tf32: return function(Tf32Operand{});
    case Precision::bf16: return function(Bf16Operand{});
  }
}

}  // namespace sn::cuda

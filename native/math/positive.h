// k > 0 from a free parameter p: softplus(p), or |p| + 0.05 as in the authors' code.
#pragma once

#include "math/elementary.h"

namespace sn {

enum class Positive : int { softplus = 0, absolute = 1 };
constexpr const char* positive_names[] = {"softplus", "absolute"};

namespace math {
SN_BEGIN_ISA

template <typename T>
SN_HD T positive_value(T p, Positive kind) {
  if (kind == Positive::absolute) return (p < T(0) ? -p : p) + T(0.05);
  return p > T(20) ? p : T(log1p(exp(p)));
}
template <typename T>
SN_HD T positive_slope(T p, Positive kind) {
  if (kind == Positive::absolute) return p < T(0) ? T(-1) : T(1);
  return T(1) / (T(1) + T(exp(-p)));
}

SN_END_ISA
}  // namespace math
}  // namespace sn

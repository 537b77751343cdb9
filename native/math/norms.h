// Inverse norms, guarded.
#pragma once

#include "math/elementary.h"

namespace sn {
namespace math {
SN_BEGIN_ISA

// 1 / |v| from |v|^2. Below eps the vector counts as zero: its inverse norm is 0, hence s = 0 exactly and the
// gradient, which would be 1 / eps without bound on its direction, is 0 too. `add` is the authors' 1/sqrt(n + eps).
template <typename T>
SN_HD T guarded_inverse_norm(T squared, T eps, bool add) {
  if (add) return T(1) / square_root(squared + eps);
  return squared > eps * eps ? T(1) / square_root(squared) : T(0);
}

SN_END_ISA
}  // namespace math
}  // namespace sn

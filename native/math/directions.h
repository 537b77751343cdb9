// The directions row / max(norm, eps) of a matrix. Below the guard a direction is linear in its row, and its gradient
// has no radial part; a zero row has no direction and takes no gradient.
#pragma once

#include "math/elementary.h"

namespace sn {
namespace math {

SN_HD double direction_inverse(double norm, double eps) { return 1 / (norm < eps ? eps : norm); }

// A saved inverse norm is rounded: the product is 1 only nearly.
SN_HD bool is_guarded(double norm, double inverse) { return norm * inverse < 1 - 1e-5; }

}  // namespace math
}  // namespace sn

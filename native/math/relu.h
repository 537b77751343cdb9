// max(0, x). The comparisons let a NaN through, to be seen in the loss.
#pragma once

#include "math/elementary.h"

namespace sn {
namespace math {

template <typename T>
SN_HD T relu(T x) {
  return x < T(0) ? T(0) : x;
}

// dy where the ReLU was open, by its output y; a NaN counts as open.
template <typename T>
SN_HD T relu_gradient(T y, T dy) {
  return y <= T(0) ? T(0) : dy;
}

}  // namespace math
}  // namespace sn

// The hinge of a margin loss, element by element.
#pragma once

#include "math/angular.h"

namespace sn {
namespace math {

// max(0, excess), or its square.
template <typename T>
SN_HD ValueAndSlope<T> hinge(T excess, bool squared) {
  if (!(excess > T(0))) return {excess != excess ? excess : T(0), T(0)};
  return squared ? ValueAndSlope<T>{excess * excess, T(2) * excess} : ValueAndSlope<T>{excess, T(1)};
}

}  // namespace math
}  // namespace sn

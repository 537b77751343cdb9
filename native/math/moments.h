// Mean and spread of a sample in pieces, without the cancellation of a plain sum of squares (Chan, Golub, LeVeque).
#pragma once

#include "math/angular.h"

namespace sn {
namespace math {
#if defined(SN_ISA)
inline namespace SN_ISA {
#endif

// Takes `count` elements with that mean and sum of squared differences from it into a sample of `total` elements.
SN_HD void merge_moments(double total, double& total_mean, double& total_spread, double count, double mean,
                         double spread) {
  const double share = count / (total + count);
  const double difference = mean - total_mean;
  total_mean += difference * share;
  total_spread += spread + difference * difference * (total * share);
}

#if defined(SN_ISA)
}  // namespace SN_ISA
#endif
}  // namespace math
}  // namespace sn

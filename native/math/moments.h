// Mean and spread of a sample in pieces, without the cancellation of a plain sum of squares (Chan, Golub, LeVeque).
#pragma once

#include "math/elementary.h"

namespace sn {
namespace math {
SN_BEGIN_ISA

// Takes `count` elements with that mean and sum of squared differences from it into a sample of `total` elements.
SN_HD void merge_moments(double total, double& total_mean, double& total_spread, double count, double mean,
                         double spread) {
  const double share = count / (total + count);
  const double difference = mean - total_mean;
  total_mean += difference * share;
  total_spread += spread + difference * difference * (total * share);
}

SN_END_ISA
}  // namespace math
}  // namespace sn

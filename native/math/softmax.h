// Softmax and cross entropy, element by element.
#pragma once

#include "math/elementary.h"

namespace sn {
namespace math {

SN_HD float exponential(float x) { return expf(x); }
SN_HD double exponential(double x) { return exp(x); }

// dL/dlogit of a mean over `batch` samples against target shares of `spread` for every class and `peak` on top for the
// true one; `own_peak` is 0 for the others.
template <typename T>
SN_HD T cross_entropy_gradient(T probability, T spread, T own_peak, T batch) {
  return (probability - spread - own_peak) / batch;
}

// -sum(target share * log(probability)); log_sum = log(sum(exp(logits))).
SN_HD double cross_entropy(double log_sum, double own_logit, double logit_sum, double spread, double peak) {
  return log_sum - peak * own_logit - (spread > 0 ? spread * logit_sum : 0);
}

}  // namespace math
}  // namespace sn

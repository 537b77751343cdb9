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

// The same for -sum(target share * log(probability + guard)), guard > 0. With pull = share * probability / (probability
// + guard), dL/dlogit is (probability * sum of all pulls - pull) / batch.
SN_HD double guarded_pull(double probability, double share, double guard) {
  return share * probability / (probability + guard);
}
SN_HD double guarded_cross_entropy(double probability, double share, double guard) {
  return share > 0 ? -share * log(probability + guard) : 0;
}

// -sum(target share * log(probability)); log_sum = log(sum(exp(logits))).
SN_HD double cross_entropy(double log_sum, double own_logit, double logit_sum, double spread, double peak) {
  return log_sum - peak * own_logit - (spread > 0 ? spread * logit_sum : 0);
}

}  // namespace math
}  // namespace sn

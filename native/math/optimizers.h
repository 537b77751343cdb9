// One step of an optimiser for one element: as torch.optim.Adam, AdamW and SGD without dampening, to the order of the
// operations. What depends on the options alone is made once a step, in float64.
#pragma once

#include "math/elementary.h"

namespace sn {
namespace math {
SN_BEGIN_ISA

template <typename T>
struct AdamFactors {
  T beta1, new_share1;
  T beta2, new_share2;
  T eps;
  T penalty;    // of the parameter in the gradient: L2
  T shrink;     // what AdamW leaves of the parameter
  T step_size;  // these two correct the moments' start from zero
  T inverse_root;
};

// Options: AdamOptions; this folder knows no other.
template <typename T, typename Options>
static inline AdamFactors<T> adam_factors(const Options& options) {
  AdamFactors<T> factors;
  factors.beta1 = T(options.beta1);
  factors.new_share1 = T(1 - options.beta1);
  factors.beta2 = T(options.beta2);
  factors.new_share2 = T(1 - options.beta2);
  factors.eps = T(options.eps);
  factors.penalty = options.decoupled ? T(0) : T(options.weight_decay);
  factors.shrink = options.decoupled ? T(1 - options.learning_rate * options.weight_decay) : T(1);
  factors.step_size = T(options.learning_rate / (1 - pow(options.beta1, options.step)));
  factors.inverse_root = T(1 / sqrt(1 - pow(options.beta2, options.step)));
  return factors;
}

template <typename T>
SN_HD void adam_update(const AdamFactors<T>& factors, T gradient, T& parameter, T& first_moment, T& second_moment) {
  const T g = gradient + factors.penalty * parameter;
  const T m = factors.beta1 * first_moment + factors.new_share1 * g;
  const T v = factors.beta2 * second_moment + factors.new_share2 * g * g;
  first_moment = m;
  second_moment = v;
  const T root = square_root(v) * factors.inverse_root + factors.eps;
  parameter = factors.shrink * parameter - factors.step_size * m / root;
}

template <typename T>
struct SgdFactors {
  T rate;
  T penalty;
  T momentum;       // share of the velocity that goes on
  T direct, ahead;  // shares of gradient and velocity in the step
  bool first;       // what the velocity holds is then undefined, and may be NaN
};

// Options: SgdOptions.
template <typename T, typename Options>
static inline SgdFactors<T> sgd_factors(const Options& options) {
  SgdFactors<T> factors;
  factors.rate = T(options.learning_rate);
  factors.penalty = T(options.weight_decay);
  factors.momentum = T(options.momentum);
  factors.direct = options.nesterov ? T(1) : T(0);
  factors.ahead = options.nesterov ? factors.momentum : T(1);
  factors.first = options.first;
  return factors;
}

template <typename T>
SN_HD void sgd_update(const SgdFactors<T>& factors, T gradient, T& parameter) {
  parameter -= factors.rate * (gradient + factors.penalty * parameter);
}
// With momentum.
template <typename T>
SN_HD void sgd_update(const SgdFactors<T>& factors, T gradient, T& parameter, T& velocity) {
  const T g = gradient + factors.penalty * parameter;
  const T v = factors.first ? g : factors.momentum * velocity + g;
  velocity = v;
  parameter -= factors.rate * (factors.direct * g + factors.ahead * v);
}

SN_END_ISA
}  // namespace math
}  // namespace sn

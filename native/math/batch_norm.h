// What batch normalisation computes once a channel.
#pragma once

#include "math/elementary.h"

namespace sn {
namespace math {

template <typename T>
SN_HD T inverse_deviation(T variance, T eps) {
  return T(1) / square_root(variance + eps);
}

// Of a batch of `count` values whose squared differences from their mean add up to `spread`.
struct BatchVariance {
  double biased;
  double unbiased;
};
SN_HD BatchVariance batch_variance(double spread, double count) {
  const double positive = spread < 0 ? 0 : spread;
  return {positive / count, positive / (count > 2 ? count - 1 : 1)};
}

// A running statistic, in which the new batch has the share `momentum`.
SN_HD double ema(double running, double value, double momentum) { return (1 - momentum) * running + momentum * value; }

template <typename T>
SN_HD T normalized(T x, T mean, T scale, T shift) {
  return (x - mean) * scale + shift;
}

// With g = dy where a fused ReLU was open and d = 1/sqrt(variance + eps), the gradient
// dx = gamma d (g - mean(g) - xhat mean(g xhat)), as scale g + slope (x - mean) + offset, scale = gamma d.
struct BatchNormGradient {
  double dgamma, dbeta;
  double slope, offset;
};
// From the sums of g and of g (x - mean) over `count` values.
SN_HD BatchNormGradient batch_norm_gradient(double gamma, double inverse_deviation, double sum, double weighted_sum,
                                            double count) {
  const double scale = gamma * inverse_deviation;
  const double normalized_sum = weighted_sum * inverse_deviation;
  return {normalized_sum, sum, -scale * inverse_deviation * normalized_sum / count, -scale * sum / count};
}

template <typename T>
SN_HD T normalization_gradient(T g, T x, T mean, T scale, T slope, T offset) {
  return scale * g + (slope * (x - mean) + offset);
}

}  // namespace math
}  // namespace sn

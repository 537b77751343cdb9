// What operators take beside their tensors. JavaScript gives the numbers of a struct as one array, in the order of
// SN_FIELDS (lib/native.ts packs them); tensors of a struct are arguments of the call.
#pragma once

#include <optional>

#include "core/fields.h"
#include "core/tensor.h"
#include "math/angular.h"
#include "math/margin.h"
#include "math/positive.h"

namespace sn {

struct Window {
  int kernel_h, kernel_w;
  int stride_h, stride_w;
  int padding_h, padding_w;
  int dilation_h, dilation_w;

  SN_FIELDS(kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w)
};

struct ConvGeometry : Window {
  int groups;

  SN_FIELDS(kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w, groups)
};

// How a norm is kept away from zero: vectors shorter than eps count as zero, or 1/sqrt(n + eps) as in the authors'
// code (math::guarded_inverse_norm).
struct NormGuard {
  double eps;
  bool add;

  bool operator==(const NormGuard& other) const { return eps == other.eps && add == other.add; }
  SN_FIELDS(eps, add)
};

struct SphereOptions {
  Angular angular;  // which g
  double k;         // its curvature, where it has one and no k tensor is given
  NormGuard guard;

  SN_FIELDS(angular, k, guard)
};

// What SphereConv's forward saves for its backward.
struct SphereSaved {
  Tensor s;                // [N, OH, OW, O] cos(theta) in the form that g saves it in (math/angular.h)
  Tensor inv_patch_norm;   // [N, OH, OW, groups]
  Tensor inv_filter_norm;  // [O]

  SN_FIELDS(s, inv_patch_norm, inv_filter_norm)
};

// The statistics of a batch, to be written: mean and biased variance [C]. The running ones move towards them, with the
// unbiased variance.
struct BatchStatistics {
  Tensor mean, variance;
  Tensor running_mean, running_variance;
  double momentum;  // share of the new batch in the running statistics

  SN_FIELDS(mean, variance, running_mean, running_variance, momentum)
};

// gamma (x - mean) / sqrt(variance + eps) + beta per channel.
struct Normalization {
  Tensor gamma, beta, mean, variance;  // [C]
  double eps;

  SN_FIELDS(gamma, beta, mean, variance, eps)
};

// What follows a convolution, in this order; on its output y [..., C]:
//   statistics of y; normalization of y; + residual; max(0, .) with relu.
// A device fuses of it what it can. A new step is a field here, and in the loops of each device.
struct Epilogue {
  std::optional<BatchStatistics> statistics;
  std::optional<Normalization> normalization;  // may be by the statistics just taken
  OptionalTensor residual;                     // like y
  OptionalTensor output;                       // like y: takes the result, and y stays; absent: y takes the result
  bool relu = false;

  // Whether there is something to do on y.
  explicit operator bool() const { return normalization || residual || relu; }
  SN_FIELDS(statistics, normalization, residual, output, relu)
};

// The backward of an epilogue that normalises by the statistics of the batch: dy is the gradient of its result.
struct EpilogueGradient {
  Tensor y;  // what was normalised
  Normalization normalization;
  OptionalTensor residual;
  Tensor dgamma, dbeta;      // [C], written
  OptionalTensor dresidual;  // like y, written
  bool relu;

  SN_FIELDS(y, normalization, residual, dgamma, dbeta, dresidual, relu)
};

struct AngularSoftmaxOptions {
  Angular angular;
  double k;
  Margin margin_function;
  double margin;     // m
  double annealing;  // lambda >= 0: target logit = (lambda g + g_m) |x| / (1 + lambda)
  double radius;     // 0, without a tensor of it: logits are |x| g(theta); otherwise radius * g(theta)
  double eps;        // norm guard, as NormGuard with add = false

  SN_FIELDS(angular, k, margin_function, margin, annealing, radius, eps)
};

// What angular_softmax_forward saves for its backward.
struct AngularSoftmaxSaved {
  Tensor cosine;            // [N, classes] s = cos(theta)
  Tensor cosine_gradient;   // [N, classes] dL/ds
  Tensor norm_gradient;     // [N] dL/d|x|; dL/dradius where that is a tensor, zero where it is a number
  Tensor inv_feature_norm;  // [N]
  Tensor inv_weight_norm;   // [classes]

  SN_FIELDS(cosine, cosine_gradient, norm_gradient, inv_feature_norm, inv_weight_norm)
};

struct AdamOptions {
  double learning_rate, beta1, beta2, eps, weight_decay;
  double step;     // 1 for the first step
  bool decoupled;  // AdamW

  SN_FIELDS(learning_rate, beta1, beta2, eps, weight_decay, step, decoupled)
};

struct SgdOptions {
  double learning_rate, momentum, weight_decay;
  bool nesterov;
  bool first;  // the velocity is the gradient itself

  SN_FIELDS(learning_rate, momentum, weight_decay, nesterov, first)
};

}  // namespace sn

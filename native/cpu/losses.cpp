#include <algorithm>
#include <cmath>
#include <vector>

#include "core/dispatch.h"
#include "cpu/backend.h"
#include "cpu/directions.h"
#include "cpu/labels.h"
#include "math/hinge.h"
#include "math/margin.h"
#include "math/softmax.h"

namespace sn::cpu {
namespace {

double mean_of(const Tensor& values) {
  const double* first = values.read<double>();
  double sum = 0;
  for (std::int64_t i = 0; i < values.count(); ++i) sum += first[i];
  return sum / double(values.count());
}

// Fills probabilities (which may be the logits) and returns log(sum(exp(logits))). Both subtract the maximum first, so
// that no exponential overflows.
template <typename T>
double softmax(const T* logits, T* probabilities, std::int64_t classes) {
  const T highest = *std::max_element(logits, logits + classes);
  double sum = 0;
  for (std::int64_t j = 0; j < classes; ++j) {
    probabilities[j] = std::exp(logits[j] - highest);
    sum += double(probabilities[j]);
  }
  const T share = static_cast<T>(1 / sum);
  for (std::int64_t j = 0; j < classes; ++j) probabilities[j] *= share;
  return double(highest) + std::log(sum);
}

// Calls function(g, T{}) with the g of the options in T.
template <typename Function>
void with_angular(const AngularSoftmaxOptions& options, DType dtype, Function&& function) {
  by_dtype(dtype, [&](auto tag) {
    math::by_angular<decltype(tag)>(options.angular, [&](auto type) {
      using G = typename decltype(type)::type;
      function(G::make(options.k), tag);
    });
  });
}

// One sample of angular softmax: rows with one number a class.
template <typename T>
struct AngularRow {
  T* cosine;       // in: x w^T; out: s
  T* logits;       // magnitude * g(theta), margin-free
  T* slope;        // dL/ds
  T* probability;  // workspace for the softmax
  std::int64_t classes, label;
  double magnitude;  // |x| or the radius
};

struct AngularResult {
  double loss;
  double theta;
  double magnitude_gradient;
};

template <typename T, typename G>
AngularResult angular_row(const G& g, const AngularRow<T>& row, const AngularSoftmaxOptions& options, double batch) {
  for (std::int64_t j = 0; j < row.classes; ++j) {
    const auto found = g.of_cosine(row.cosine[j]);
    row.logits[j] = found.value;
    row.slope[j] = found.slope;
  }
  const T target_cosine = row.cosine[row.label];
  const T plain_target = row.logits[row.label];
  const auto target = math::target_value(g, target_cosine, options.margin_function, options.margin, options.annealing);
  row.logits[row.label] = target.value;
  row.slope[row.label] = target.slope;

  const T magnitude = static_cast<T>(row.magnitude);
  for (std::int64_t j = 0; j < row.classes; ++j) row.probability[j] = magnitude * row.logits[j];
  const double target_logit = double(row.probability[row.label]);
  const double loss = softmax(row.probability, row.probability, row.classes) - target_logit;

  double magnitude_gradient = 0;
  for (std::int64_t j = 0; j < row.classes; ++j) {
    const T gradient = math::cross_entropy_gradient(row.probability[j], T(0), T(j == row.label), static_cast<T>(batch));
    magnitude_gradient += double(gradient) * double(row.logits[j]);
    row.slope[j] *= gradient * magnitude;
    row.logits[j] *= magnitude;
  }
  row.logits[row.label] = magnitude * plain_target;
  return {loss, math::pi / 2 - double(math::angle_of(target_cosine).a), magnitude_gradient};
}

template <typename T>
void scale_to_cosines(T* products, std::int64_t classes, T inv_feature_norm, const T* inv_weight_norm) {
  for (std::int64_t j = 0; j < classes; ++j) {
    products[j] = math::clamp_cosine(products[j] * inv_feature_norm * inv_weight_norm[j]);
  }
}

// Per row and per column the sum of cosine * dL/ds.
struct RadialSums {
  std::vector<double> rows, columns;
};

template <typename T>
RadialSums radial_sums(const Tensor& cosine, const Tensor& cosine_gradient) {
  const std::int64_t rows = cosine.shape[0], columns = cosine.shape[1];
  RadialSums sums{std::vector<double>(static_cast<std::size_t>(rows)),
                  std::vector<double>(static_cast<std::size_t>(columns))};
  const T* s = cosine.read<T>();
  const T* u = cosine_gradient.read<T>();
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) {
      const double product = double(s[i * columns + j]) * double(u[i * columns + j]);
      sums.rows[static_cast<std::size_t>(i)] += product;
      sums.columns[static_cast<std::size_t>(j)] += product;
    }
  }
  return sums;
}

// The loss of each sample. `loss_of_row` (T{}, logits, gradient, true class) returns it and writes the gradient.
template <typename Row>
Tensor losses_of(CpuBackend& device, const Tensor& logits, const IndexTensor& labels, const Tensor& dlogits,
                 const Row& loss_of_row) {
  const std::int64_t batch = logits.shape[0], classes = logits.shape[1];
  check_labels(labels, classes);
  const Tensor losses = device.scratch(DType::f64, {batch});
  by_dtype(logits.dtype, [&](auto tag) {
    using T = decltype(tag);
    const T* rows = logits.read<T>();
    T* gradients = dlogits.write<T>();
    double* sample_losses = losses.write<double>();
    const std::int32_t* targets = labels.read<std::int32_t>();
#pragma omp parallel for schedule(static) if (batch * classes > parallel_threshold)
    for (std::int64_t i = 0; i < batch; ++i) {
      sample_losses[i] = loss_of_row(tag, rows + i * classes, gradients + i * classes, targets[i]);
    }
  });
  return losses;
}

struct GuardedTarget {
  double spread, peak, guard;
};

// In: probabilities; out: the gradient. Returns the loss of the sample.
template <typename T>
double guarded_cross_entropy(T* row, std::int64_t classes, int target, const GuardedTarget& how, std::int64_t batch) {
  const auto share = [&](std::int64_t j) { return how.spread + (j == target ? how.peak : 0); };
  double loss = 0, pulls = 0;
  for (std::int64_t j = 0; j < classes; ++j) {
    loss += math::guarded_cross_entropy(double(row[j]), share(j), how.guard);
    pulls += math::guarded_pull(double(row[j]), share(j), how.guard);
  }
  for (std::int64_t j = 0; j < classes; ++j) {
    const double probability = double(row[j]);
    const double pull = math::guarded_pull(probability, share(j), how.guard);
    row[j] = static_cast<T>((probability * pulls - pull) / double(batch));
  }
  return loss;
}

}  // namespace

void CpuBackend::softmax_cross_entropy(const Tensor& logits, const IndexTensor& labels, double label_smoothing,
                                       double log_guard, const Tensor& loss, const Tensor& dlogits) {
  const std::int64_t batch = logits.shape[0], classes = logits.shape[1];
  const double spread = label_smoothing / double(classes);  // target share of every class
  const double peak = 1 - label_smoothing;                  // and what the true one has on top
  const Tensor losses =
      losses_of(*this, logits, labels, dlogits, [&](auto tag, const auto* row, auto* gradient, int target) {
        using T = decltype(tag);
        const double log_sum = softmax(row, gradient, classes);
        if (log_guard > 0) return guarded_cross_entropy(gradient, classes, target, {spread, peak, log_guard}, batch);
        double logit_sum = 0;
        for (std::int64_t j = 0; j < classes; ++j) {
          logit_sum += double(row[j]);
          const T own_peak = j == target ? static_cast<T>(peak) : T(0);
          gradient[j] = math::cross_entropy_gradient(gradient[j], static_cast<T>(spread), own_peak, T(batch));
        }
        return math::cross_entropy(log_sum, double(row[target]), logit_sum, spread, peak);
      });
  fill(mean_of(losses), {loss});
}

void CpuBackend::multi_margin(const Tensor& logits, const IndexTensor& labels, double margin, bool squared,
                              const Tensor& loss, const Tensor& dlogits) {
  const std::int64_t batch = logits.shape[0], classes = logits.shape[1];
  const Tensor losses =
      losses_of(*this, logits, labels, dlogits, [&](auto tag, const auto* row, auto* gradient, int target) {
        using T = decltype(tag);
        const T own = row[target], share = static_cast<T>(1 / (double(batch) * double(classes)));
        double value = 0, slope = 0;
        for (std::int64_t j = 0; j < classes; ++j) {
          if (j == target) continue;
          const auto found = math::hinge(T(margin) - own + row[j], squared);
          gradient[j] = share * found.slope;
          value += double(found.value);
          slope += double(found.slope);
        }
        gradient[target] = static_cast<T>(-double(share) * slope);
        return value / double(classes);
      });
  fill(mean_of(losses), {loss});
}

void CpuBackend::angular_softmax_forward(const Tensor& x, const Tensor& w, const OptionalTensor& radius,
                                         const IndexTensor& labels, const Tensor& loss, const Tensor& logits,
                                         const Tensor& theta, const AngularSoftmaxSaved& saved,
                                         const AngularSoftmaxOptions& options) {
  const std::int64_t batch = x.shape[0], classes = w.shape[0];
  check_labels(labels, classes);
  const Directions features(x, options.eps), weights(w, options.eps);
  matmul(x, w, {}, saved.cosine, false, true);
  const Tensor losses = scratch(DType::f64, {batch}), angles = scratch(DType::f64, {batch});
  const Tensor probabilities = scratch(x.dtype, logits.shape);
  with_angular(options, x.dtype, [&](const auto& g, auto tag) {
    using T = decltype(tag);
    T* cosines = saved.cosine.write<T>();
    T* all_logits = logits.write<T>();
    T* gradients = saved.cosine_gradient.write<T>();
    T* norm_gradients = saved.norm_gradient.write<T>();
    T* inv_feature_norms = saved.inv_feature_norm.write<T>();
    T* inv_weight_norms = saved.inv_weight_norm.write<T>();
    T* workspace = probabilities.write<T>();
    double* sample_losses = losses.write<double>();
    double* sample_angles = angles.write<double>();
    const std::int32_t* targets = labels.read<std::int32_t>();
    const double fixed = radius ? double(*radius.read<T>()) : options.radius;
    const bool by_norm = !radius && options.radius == 0;
    for (std::int64_t j = 0; j < classes; ++j) inv_weight_norms[j] = static_cast<T>(weights.inverse(j));
#pragma omp parallel for schedule(static) if (batch * classes > parallel_threshold)
    for (std::int64_t i = 0; i < batch; ++i) {
      const std::int64_t first = i * classes;
      inv_feature_norms[i] = static_cast<T>(features.inverse(i));
      scale_to_cosines(cosines + first, classes, inv_feature_norms[i], inv_weight_norms);
      const double magnitude = by_norm ? features.norm(i) : fixed;
      const AngularResult result = angular_row(g,
                                               AngularRow<T>{cosines + first, all_logits + first, gradients + first,
                                                             workspace + first, classes, targets[i], magnitude},
                                               options, double(batch));
      sample_losses[i] = result.loss;
      sample_angles[i] = result.theta;
      norm_gradients[i] = by_norm || radius ? static_cast<T>(result.magnitude_gradient) : T(0);
    }
  });
  fill(mean_of(losses), {loss});
  fill(mean_of(angles), {theta});
}

// With v_ij = u_ij / (|x_i| |w_j|): dx = v w - x (sum_j u s / |x|^2 - dL/d|x| / |x|), dw = v^T x - w sum_i u s / |w|^2.
void CpuBackend::angular_softmax_backward(const Tensor& x, const Tensor& w, const AngularSoftmaxSaved& saved,
                                          const Tensor& dloss, const OptionalTensor& dx, const OptionalTensor& dw,
                                          const OptionalTensor& dradius) {
  by_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    const auto subtract_rows = kernels_.of<T>().norms.subtract_radial;
    const double outer = double(*dloss.read<T>());
    const Directions features(x, saved.inv_feature_norm), weights(w, saved.inv_weight_norm);
    const RadialSums radial = radial_sums<T>(saved.cosine, saved.cosine_gradient);
    const Tensor v = scratch(x.dtype, saved.cosine.shape);
    scale_rows_and_columns(saved.cosine_gradient.read<T>(), v.write<T>(),
                           per_row<T>(features, [&](auto i) { return outer * features.gradient_inverse(i); }),
                           per_row<T>(weights, [&](auto j) { return weights.gradient_inverse(j); }));
    const T* norm_gradients = saved.norm_gradient.read<T>();
    if (dradius) {
      double sum = 0;
      for (std::int64_t i = 0; i < features.rows(); ++i) sum += double(norm_gradients[i]);
      *dradius.write<T>() = static_cast<T>(outer * sum);
    }
    if (dx) {
      const auto share = per_row<T>(features, [&](std::int64_t i) {
        const double inverse = features.radial_inverse(i);
        const double along = !dradius && features.norm(i) > 0 ? double(norm_gradients[i]) / features.norm(i) : 0;
        return outer * (radial.rows[static_cast<std::size_t>(i)] * inverse * inverse - along);
      });
      matmul(v, w, {}, dx, false, false);
      subtract_rows(dx.write<T>(), x.read<T>(), share.data(), features.rows(), int(x.shape[1]), 1);
    }
    if (dw) {
      const auto share = per_row<T>(weights, [&](std::int64_t j) {
        const double inverse = weights.radial_inverse(j);
        return outer * radial.columns[static_cast<std::size_t>(j)] * inverse * inverse;
      });
      matmul(v, x, {}, dw, true, false);
      subtract_rows(dw.write<T>(), w.read<T>(), share.data(), weights.rows(), int(w.shape[1]), 1);
    }
  });
}

}  // namespace sn::cpu

// Batch normalisation in four passes over memory: moments and normalisation forward, sums and gradient backward.
#include <omp.h>

#include <algorithm>
#include <cmath>

#include "cpu/backend.h"
#include "cpu/columns.h"
#include "cpu/dispatch.h"
#include "math/moments.h"

namespace sn::cpu {
namespace {

struct Moments {
  double mean = 0;
  double spread = 0;  // sum of squared differences from the mean
};

Moments moments_of_copies(const Columns& columns, const double* column_moments, std::int64_t channel) {
  Moments total;
  for (std::int64_t copy = 0; copy < columns.copies(); ++copy) {
    const std::int64_t column = copy * columns.channels + channel;
    math::merge_moments(double(copy * columns.rows), total.mean, total.spread, double(columns.rows),
                        column_moments[column], column_moments[columns.width + column]);
  }
  return total;
}

template <typename T>
void move_towards(T& running, double value, double momentum) {
  running = static_cast<T>((1 - momentum) * double(running) + momentum * value);
}

template <typename T>
void save_statistics(const Columns& columns, const double* column_moments, const Tensor& running_mean,
                     const Tensor& running_variance, const Tensor& mean, const Tensor& variance, double momentum) {
  const double count = double(columns.rows * columns.copies());
  T* means = mean.write<T>();
  T* variances = variance.write<T>();
  T* running_means = running_mean.write<T>();
  T* running_variances = running_variance.write<T>();
  for (std::int64_t c = 0; c < columns.channels; ++c) {
    const Moments moments = moments_of_copies(columns, column_moments, c);
    const double spread = moments.spread < 0 ? 0 : moments.spread;
    means[c] = static_cast<T>(moments.mean);
    variances[c] = static_cast<T>(spread / count);
    move_towards(running_means[c], moments.mean, momentum);
    move_towards(running_variances[c], spread / std::max(count - 1, 1.0), momentum);
  }
}

template <typename T>
double inverse_deviation(const T* variance, std::int64_t channel, double eps) {
  return 1 / std::sqrt(double(variance[channel]) + eps);
}

template <typename T>
void normalize(const BatchNormLoops<T>& loops, const Tensor& x, const Tensor& gamma, const Tensor& beta,
               const Tensor& mean, const Tensor& variance, const Tensor& y, const BatchNormOptions& options) {
  const Columns columns = columns_of(x);
  const T* variances = variance.read<T>();
  const auto scale = per_column<T>(columns, [&, gammas = gamma.read<T>()](std::int64_t c) {
    return double(gammas[c]) * inverse_deviation(variances, c, options.eps);
  });
  const auto centre = per_column<T>(columns, [means = mean.read<T>()](std::int64_t c) { return means[c]; });
  const auto shift = per_column<T>(columns, [betas = beta.read<T>()](std::int64_t c) { return betas[c]; });
  loops.normalize(x.read<T>(), centre.data(), scale.data(), shift.data(), y.write<T>(), options.relu, columns.rows,
                  columns.width);
}

}  // namespace

void CpuBackend::batch_norm_train(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& running_mean,
                                  const Tensor& running_variance, const Tensor& y, const Tensor& mean,
                                  const Tensor& variance, const BatchNormOptions& options) {
  by_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    const auto& loops = loops_.of<T>().batch_norm;
    const Columns columns = columns_of(x);
    const Tensor workspace = scratch(DType::f64, {omp_get_max_threads(), 2, columns.width});
    loops.moments(x.read<T>(), workspace.write<double>(), columns.rows, columns.width);
    save_statistics<T>(columns, workspace.read<double>(), running_mean, running_variance, mean, variance,
                       options.momentum);
    normalize(loops, x, gamma, beta, mean, variance, y, options);
  });
}

void CpuBackend::batch_norm_infer(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& running_mean,
                                  const Tensor& running_variance, const Tensor& y, const BatchNormOptions& options) {
  by_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    normalize(loops_.of<T>().batch_norm, x, gamma, beta, running_mean, running_variance, y, options);
  });
}

// With g = dy where the ReLU was open and d = 1/sqrt(variance + eps): dx = gamma d (g - mean(g) - xhat mean(g xhat)).
void CpuBackend::batch_norm_backward(const Tensor& x, const Tensor& gamma, const Tensor& mean, const Tensor& variance,
                                     const Tensor& y, const Tensor& dy, const Tensor& dx, const Tensor& dgamma,
                                     const Tensor& dbeta, const BatchNormOptions& options) {
  by_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    const auto& loops = loops_.of<T>().batch_norm;
    const Columns columns = columns_of(x);
    const auto centre = per_column<T>(columns, [means = mean.read<T>()](std::int64_t c) { return means[c]; });
    const T* mask = options.relu ? y.read<T>() : nullptr;
    const Tensor workspace = scratch(DType::f64, {omp_get_max_threads(), 2, columns.width});
    double* plain_sums = workspace.write<double>();
    double* weighted_sums = plain_sums + columns.width;
    loops.gradient_sums(x.read<T>(), mask, dy.read<T>(), centre.data(), plain_sums, columns.rows, columns.width);

    const double count = double(columns.rows * columns.copies());
    const T* gammas = gamma.read<T>();
    const T* variances = variance.read<T>();
    T* dgammas = dgamma.write<T>();
    T* dbetas = dbeta.write<T>();
    std::vector<double> scale, slope, offset;  // dx = scale g + slope (x - mean) + offset
    for (std::int64_t c = 0; c < columns.channels; ++c) {
      const double deviation = inverse_deviation(variances, c, options.eps);
      const double sum = sum_of_copies(columns, plain_sums, c);
      const double normalized_sum = sum_of_copies(columns, weighted_sums, c) * deviation;
      dbetas[c] = static_cast<T>(sum);
      dgammas[c] = static_cast<T>(normalized_sum);
      scale.push_back(double(gammas[c]) * deviation);
      slope.push_back(-scale.back() * deviation * normalized_sum / count);
      offset.push_back(-scale.back() * sum / count);
    }
    const auto widened = [&](const std::vector<double>& values) {
      return per_column<T>(columns, [&](std::int64_t c) { return values[static_cast<std::size_t>(c)]; });
    };
    loops.gradient(x.read<T>(), mask, dy.read<T>(), centre.data(), widened(scale).data(), widened(slope).data(),
                   widened(offset).data(), dx.write<T>(), columns.rows, columns.width);
  });
}

}  // namespace sn::cpu

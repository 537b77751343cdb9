// Batch normalisation in four passes over memory: moments and normalisation forward, sums and gradient backward.
#include "cpu/batch_norm.h"

#include <omp.h>

#include <algorithm>

#include "cpu/backend.h"
#include "core/dispatch.h"
#include "math/batch_norm.h"
#include "math/moments.h"

namespace sn::cpu {
namespace {

template <typename T>
void update_ema(T& running, double value, double momentum) {
  running = static_cast<T>(math::ema(double(running), value, momentum));
}

std::size_t workspace_size(std::int64_t width) { return static_cast<std::size_t>(omp_get_max_threads() * 2 * width); }

template <typename T>
ChannelCoefficients<T> coefficients_of(const ChannelPack& columns, const Normalization& of) {
  return {columns, of.relu, [&](T* mean, T* scale, T* shift) {
            const T *gammas = of.gamma.read<T>(), *betas = of.beta.read<T>();
            const T *means = of.mean.read<T>(), *variances = of.variance.read<T>();
            for (std::int64_t c = 0; c < columns.channels; ++c) {
              mean[c] = means[c];
              scale[c] = static_cast<T>(double(gammas[c]) * math::inverse_deviation(double(variances[c]), of.eps));
              shift[c] = betas[c];
            }
          }};
}

}  // namespace

template <typename T>
BatchMoments<T>::BatchMoments(const BatchNormKernels<T>& kernels, std::int64_t channels)
    : kernels_(kernels), channels_(channels), moments_(static_cast<std::size_t>(2 * channels)) {}

template <typename T>
void BatchMoments<T>::add(const T* x, std::int64_t pixels) {
  const ChannelPack columns = channel_pack_of(channels_, pixels);
  workspace_.resize(workspace_size(columns.width));
  kernels_.moments(x, workspace_.data(), columns.rows, columns.width);
  const double rows = double(columns.rows);
  for (std::int64_t copy = 0; copy < columns.copies(); ++copy) {
    const double* of_copy = workspace_.data() + copy * channels_;
    double *mean = moments_.data(), *spread = mean + channels_;
    for (std::int64_t c = 0; c < channels_; ++c) {
      math::merge_moments(count_, mean[c], spread[c], rows, of_copy[c], of_copy[columns.width + c]);
    }
    count_ += rows;
  }
}

template <typename T>
void BatchMoments<T>::save(const BatchStatistics& statistics) const {
  const double *mean = moments_.data(), *spread = mean + channels_;
  T *means = statistics.mean.write<T>(), *variances = statistics.variance.write<T>();
  T* running_means = statistics.running_mean.write<T>();
  T* running_variances = statistics.running_variance.write<T>();
  for (std::int64_t c = 0; c < channels_; ++c) {
    const math::BatchVariance variance = math::batch_variance(spread[c], count_);
    means[c] = static_cast<T>(mean[c]);
    variances[c] = static_cast<T>(variance.biased);
    update_ema(running_means[c], mean[c], statistics.momentum);
    update_ema(running_variances[c], variance.unbiased, statistics.momentum);
  }
}

template <typename T>
void normalize_pixels(const BatchNormKernels<T>& kernels, const T* x, const Normalization& normalization, T* y,
                      std::int64_t pixels) {
  const ChannelPack columns = channel_pack_of(normalization.gamma.count(), pixels);
  const auto coefficients = coefficients_of<T>(columns, normalization);
  kernels.normalize(x, coefficients.view(), y, columns.rows, columns.width);
}

template <typename T>
void normalized_gradient(const BatchNormKernels<T>& kernels, const NormalizedGradient& of, const T* dy, T* dx,
                         std::int64_t first, std::int64_t pixels) {
  const std::int64_t channels = of.normalization.gamma.count();
  const ChannelPack columns = channel_pack_of(channels, pixels);
  const auto coefficients = coefficients_of<T>(columns, of.normalization);
  std::vector<T> slopes(static_cast<std::size_t>(2 * columns.width));
  for (std::int64_t row = 0; row < 2; ++row) {
    T* of_row = slopes.data() + row * columns.width;
    std::copy_n(of.slopes.read<T>() + row * channels, channels, of_row);
    spread_over(columns, of_row);
  }
  kernels.gradient(of.y.read<T>() + first * channels, coefficients.view(), dy, slopes.data(),
                 slopes.data() + columns.width, dx, columns.rows, columns.width);
}

template class BatchMoments<float>;
template class BatchMoments<double>;
template void normalize_pixels(const BatchNormKernels<float>&, const float*, const Normalization&, float*, std::int64_t);
template void normalize_pixels(const BatchNormKernels<double>&, const double*, const Normalization&, double*,
                               std::int64_t);
template void normalized_gradient(const BatchNormKernels<float>&, const NormalizedGradient&, const float*, float*,
                                  std::int64_t, std::int64_t);
template void normalized_gradient(const BatchNormKernels<double>&, const NormalizedGradient&, const double*, double*,
                                  std::int64_t, std::int64_t);

void CpuBackend::batch_statistics(const Tensor& x, const BatchStatistics& statistics) {
  by_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    const std::int64_t channels = x.shape.back();
    BatchMoments<T> moments(kernels_.of<T>().batch_norm, channels);
    moments.add(x.read<T>(), x.count() / channels);
    moments.save(statistics);
  });
}

void CpuBackend::normalize(const Tensor& x, const Normalization& normalization, const Tensor& y) {
  by_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    normalize_pixels(kernels_.of<T>().batch_norm, x.read<T>(), normalization, y.write<T>(), x.count() / x.shape.back());
  });
}

void CpuBackend::normalize_backward(const Tensor& x, const Normalization& normalization, const Tensor& dy,
                                    const Tensor& dx, const Tensor& dgamma, const Tensor& dbeta,
                                    const Tensor& slopes) {
  by_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    const auto& kernels = kernels_.of<T>().batch_norm;
    const std::int64_t channels = x.shape.back(), pixels = x.count() / channels;
    const ChannelPack columns = channel_pack_of(channels, pixels);
    std::vector<double> sums(workspace_size(columns.width));
    kernels.gradient_sums(x.read<T>(), coefficients_of<T>(columns, normalization).view(), dy.read<T>(), sums.data(),
                        columns.rows, columns.width);

    const T *gammas = normalization.gamma.read<T>(), *variances = normalization.variance.read<T>();
    T *dgammas = dgamma.write<T>(), *dbetas = dbeta.write<T>(), *slope = slopes.write<T>();
    for (std::int64_t c = 0; c < channels; ++c) {
      const math::BatchNormGradient gradient = math::batch_norm_gradient(
          double(gammas[c]), math::inverse_deviation(double(variances[c]), normalization.eps),
          sum_of_copies(columns, sums.data(), c), sum_of_copies(columns, sums.data() + columns.width, c),
          double(pixels));
      dbetas[c] = static_cast<T>(gradient.dbeta);
      dgammas[c] = static_cast<T>(gradient.dgamma);
      slope[c] = static_cast<T>(gradient.slope);
      slope[channels + c] = static_cast<T>(gradient.offset);
    }
    if (dx) normalized_gradient(kernels, {x, normalization, slopes}, dy.read<T>(), dx.write<T>(), 0, pixels);
  });
}

}  // namespace sn::cpu

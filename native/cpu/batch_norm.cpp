// Batch normalisation in four passes over memory: moments and normalisation forward, sums and gradient backward.
#include "cpu/batch_norm.h"

#include <omp.h>

#include <algorithm>

#include "core/dispatch.h"
#include "cpu/backend.h"
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
ChannelCoefficients<T> coefficients_of(const ChannelPack& pack, const Normalization& of, bool relu) {
  return {pack, relu, [&](T* mean, T* scale, T* shift) {
            const T *gammas = of.gamma.read<T>(), *betas = of.beta.read<T>();
            const T *means = of.mean.read<T>(), *variances = of.variance.read<T>();
            for (std::int64_t c = 0; c < pack.channels; ++c) {
              mean[c] = means[c];
              scale[c] = static_cast<T>(double(gammas[c]) * math::inverse_deviation(double(variances[c]), of.eps));
              shift[c] = betas[c];
            }
          }};
}

// Without a normalisation: as if the mean were 0, the scale 1 and the shift 0.
template <typename T>
ChannelCoefficients<T> coefficients_of(const ChannelPack& pack, const Epilogue& epilogue) {
  if (epilogue.normalization) return coefficients_of<T>(pack, *epilogue.normalization, epilogue.relu);
  return {pack, epilogue.relu, [&](T*, T* scale, T*) { std::fill_n(scale, pack.channels, T(1)); }};
}

}  // namespace

template <typename T>
BatchMoments<T>::BatchMoments(const BatchNormKernels<T>& kernels, std::int64_t channels)
    : kernels_(kernels), channels_(channels), moments_(static_cast<std::size_t>(2 * channels)) {}

template <typename T>
void BatchMoments<T>::add(const T* x, std::int64_t pixels) {
  const ChannelPack pack = channel_pack_of(channels_, pixels);
  workspace_.resize(workspace_size(pack.width));
  kernels_.moments(x, workspace_.data(), pack.rows, pack.width);
  const double rows = double(pack.rows);
  for (std::int64_t copy = 0; copy < pack.copies(); ++copy) {
    const double* of_copy = workspace_.data() + copy * channels_;
    double *mean = moments_.data(), *spread = mean + channels_;
    for (std::int64_t c = 0; c < channels_; ++c) {
      math::merge_moments(count_, mean[c], spread[c], rows, of_copy[c], of_copy[pack.width + c]);
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
ForwardEpilogue<T>::ForwardEpilogue(const BatchNormKernels<T>& kernels, const Tensor& y, const Epilogue& epilogue,
                                    const Tensor& output)
    : kernels_(kernels), epilogue_(epilogue), channels_(y.shape.back()), pixels_(y.count() / channels_),
      y_(y.read<T>()), residual_(epilogue.residual.read<T>()), output_(output.write<T>()),
      moments_(kernels, channels_) {}

template <typename T>
void ForwardEpilogue<T>::take(std::int64_t first, std::int64_t pixels) {
  if (epilogue_.statistics) {
    moments_.add(y_ + first * channels_, pixels);
  } else if (epilogue_) {
    apply(first, pixels);
  }
}

template <typename T>
void ForwardEpilogue<T>::finish() {
  if (!epilogue_.statistics) return;
  moments_.save(*epilogue_.statistics);
  if (epilogue_) apply(0, pixels_);
}

template <typename T>
void ForwardEpilogue<T>::apply(std::int64_t first, std::int64_t pixels) const {
  const ChannelPack pack = channel_pack_of(channels_, pixels);
  const auto coefficients = coefficients_of<T>(pack, epilogue_);
  const std::int64_t offset = first * channels_;
  kernels_.normalize(y_ + offset, coefficients.view(), residual_ ? residual_ + offset : nullptr, output_ + offset,
                     pack.rows, pack.width);
}

template <typename T>
BackwardEpilogue<T>::BackwardEpilogue(const BatchNormKernels<T>& kernels, const EpilogueGradient& epilogue,
                                      const Tensor& dy)
    : kernels_(kernels), epilogue_(epilogue), channels_(dy.shape.back()), y_(epilogue.y.read<T>()),
      residual_(epilogue.residual.read<T>()), dy_(dy.read<T>()), dresidual_(epilogue.dresidual.write<T>()),
      slopes_(static_cast<std::size_t>(2 * channels_)) {
  const Normalization& normalization = epilogue.normalization;
  const std::int64_t pixels = dy.count() / channels_;
  const ChannelPack pack = channel_pack_of(channels_, pixels);
  std::vector<double> sums(workspace_size(pack.width));
  kernels.gradient_sums(y_, coefficients_of<T>(pack, normalization, epilogue.relu).view(), residual_, dy_, sums.data(),
                        pack.rows, pack.width);

  const T *gammas = normalization.gamma.read<T>(), *variances = normalization.variance.read<T>();
  T *dgammas = epilogue.dgamma.write<T>(), *dbetas = epilogue.dbeta.write<T>();
  T *slope = slopes_.data(), *offset = slope + channels_;
  for (std::int64_t c = 0; c < channels_; ++c) {
    const math::BatchNormGradient gradient =
        math::batch_norm_gradient(double(gammas[c]), math::inverse_deviation(double(variances[c]), normalization.eps),
                                  sum_of_copies(pack, sums.data(), c), sum_of_copies(pack, sums.data() + pack.width, c),
                                  double(pixels));
    dbetas[c] = static_cast<T>(gradient.dbeta);
    dgammas[c] = static_cast<T>(gradient.dgamma);
    slope[c] = static_cast<T>(gradient.slope);
    offset[c] = static_cast<T>(gradient.offset);
  }
}

template <typename T>
void BackwardEpilogue<T>::apply(std::int64_t first, std::int64_t pixels, T* dx) const {
  const ChannelPack pack = channel_pack_of(channels_, pixels);
  const auto coefficients = coefficients_of<T>(pack, epilogue_.normalization, epilogue_.relu);
  std::vector<T> slopes(static_cast<std::size_t>(2 * pack.width));
  for (std::int64_t row = 0; row < 2; ++row) {
    T* of_row = slopes.data() + row * pack.width;
    std::copy_n(slopes_.data() + row * channels_, channels_, of_row);
    spread_over(pack, of_row);
  }
  const std::int64_t offset = first * channels_;
  kernels_.gradient(y_ + offset, coefficients.view(), residual_ ? residual_ + offset : nullptr, dy_ + offset,
                    slopes.data(), slopes.data() + pack.width, dx, dresidual_ ? dresidual_ + offset : nullptr,
                    pack.rows, pack.width);
}

template class ForwardEpilogue<float>;
template class ForwardEpilogue<double>;
template class BackwardEpilogue<float>;
template class BackwardEpilogue<double>;

void CpuBackend::batch_norm_forward(const Tensor& x, const Tensor& y, const Epilogue& epilogue) {
  by_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    ForwardEpilogue<T> following(kernels_.of<T>().batch_norm, x, epilogue, y);
    following.take(0, x.count() / x.shape.back());
    following.finish();
  });
}

void CpuBackend::batch_norm_backward(const Tensor& dy, const Tensor& dx, const EpilogueGradient& epilogue) {
  by_dtype(dy.dtype, [&](auto tag) {
    using T = decltype(tag);
    BackwardEpilogue<T>(kernels_.of<T>().batch_norm, epilogue, dy)
        .apply(0, dy.count() / dy.shape.back(), dx.write<T>());
  });
}

}  // namespace sn::cpu

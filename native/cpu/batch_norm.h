// Batch normalisation and the rest of an epilogue (core/options.h), one chunk of the batch after the other: an operator
// hands each chunk of its output on while that is in the cache.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/channel_pack.h"
#include "cpu/kernels/kernels.h"

namespace sn::cpu {

// The coefficients of each column. fill(mean, scale, shift) gives those of the channels, in rows of zeros.
template <typename T>
class ChannelCoefficients {
 public:
  template <typename Fill>
  ChannelCoefficients(const ChannelPack& pack, bool relu, Fill&& fill)
      : values_(static_cast<std::size_t>(3 * pack.width)), width_(pack.width), relu_(relu) {
    T* rows = values_.data();
    fill(rows, rows + width_, rows + 2 * width_);
    for (int row = 0; row < 3; ++row) spread_over(pack, rows + row * width_);
  }

  ChannelNormalization<T> view() const {
    return {values_.data(), values_.data() + width_, values_.data() + 2 * width_, relu_};
  }

 private:
  std::vector<T> values_;  // mean, scale, shift
  std::int64_t width_;
  bool relu_;
};

// Mean and spread of a batch that comes in chunks.
template <typename T>
class BatchMoments {
 public:
  BatchMoments(const BatchNormKernels<T>& kernels, std::int64_t channels);

  void add(const T* x, std::int64_t pixels);
  void save(const BatchStatistics& statistics) const;

 private:
  const BatchNormKernels<T>& kernels_;
  std::int64_t channels_;
  double count_ = 0;               // values a channel
  std::vector<double> moments_;    // per channel the mean, then the sum of squared differences from it
  std::vector<double> workspace_;  // of the kernels
};

// The epilogue of an operator's output y.
template <typename T>
class ForwardEpilogue {
 public:
  // The result goes to epilogue.output, or to y where that is absent.
  ForwardEpilogue(const BatchNormKernels<T>& kernels, const Tensor& y, const Epilogue& epilogue)
      : ForwardEpilogue(kernels, y, epilogue, epilogue.output ? epilogue.output : y) {}
  // The result goes to `output`, which may be y.
  ForwardEpilogue(const BatchNormKernels<T>& kernels, const Tensor& y, const Epilogue& epilogue, const Tensor& output);

  // For each chunk of y, as soon as it has been computed: `pixels` of them from pixel `first` on.
  void take(std::int64_t first, std::int64_t pixels);
  // After the last chunk. Where statistics are taken, y is normalised here: it needs those of the whole batch.
  void finish();

 private:
  void apply(std::int64_t first, std::int64_t pixels) const;

  const BatchNormKernels<T>& kernels_;
  const Epilogue& epilogue_;
  std::int64_t channels_, pixels_;
  const T *y_, *residual_;
  T* output_;
  BatchMoments<T> moments_;
};

// The way back through an epilogue that normalised by the statistics of the batch.
template <typename T>
class BackwardEpilogue {
 public:
  // Takes the sums over the whole batch that the gradients need, and writes dgamma and dbeta. dy is the gradient of the
  // epilogue's result.
  BackwardEpilogue(const BatchNormKernels<T>& kernels, const EpilogueGradient& epilogue, const Tensor& dy);

  // Writes the gradient of what was normalised to `dx`, for `pixels` pixels from pixel `first` of the batch on, and the
  // same pixels of dresidual.
  void apply(std::int64_t first, std::int64_t pixels, T* dx) const;

 private:
  const BatchNormKernels<T>& kernels_;
  const EpilogueGradient& epilogue_;
  std::int64_t channels_;
  const T *y_, *residual_, *dy_;
  T* dresidual_;
  std::vector<T> slopes_;  // [2, channels] slope and offset (math::BatchNormGradient)
};

}  // namespace sn::cpu

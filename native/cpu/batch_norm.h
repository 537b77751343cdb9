// Batch normalisation of a piece of a batch: what an operator takes along while the piece is in the cache.
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
  ChannelCoefficients(const ChannelPack& columns, bool relu, Fill&& fill)
      : values_(static_cast<std::size_t>(3 * columns.width)), width_(columns.width), relu_(relu) {
    T* rows = values_.data();
    fill(rows, rows + width_, rows + 2 * width_);
    for (int row = 0; row < 3; ++row) spread_over(columns, rows + row * width_);
  }

  ChannelNormalization<T> view() const {
    return {values_.data(), values_.data() + width_, values_.data() + 2 * width_, relu_};
  }

 private:
  std::vector<T> values_;  // mean, scale, shift
  std::int64_t width_;
  bool relu_;
};

// Mean and spread of a batch that comes in pieces.
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
  std::vector<double> workspace_;  // of the loops
};

// y may be x.
template <typename T>
void normalize_pixels(const BatchNormKernels<T>& kernels, const T* x, const Normalization&, T* y, std::int64_t pixels);

// The gradient before the normalisation, of y's `pixels` that begin at `first`, from dy, that behind it.
template <typename T>
void normalized_gradient(const BatchNormKernels<T>& kernels, const NormalizedGradient&, const T* dy, T* dx,
                         std::int64_t first, std::int64_t pixels);

}  // namespace sn::cpu

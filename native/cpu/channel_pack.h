// An NHWC tensor as a matrix with a channel in each column. With few channels, a row holds several pixels side by side,
// so that it fills vectors: 1024 pixels of 3 channels are 64 rows of 16 x 3 columns.
#pragma once

#include <cstdint>

#include "core/tensor.h"

namespace sn::cpu {

struct ChannelPack {
  std::int64_t channels, rows, width;

  std::int64_t copies() const { return width / channels; }
};

inline ChannelPack channel_pack_of(std::int64_t channels, std::int64_t pixels) {
  constexpr std::int64_t narrow = 64;
  std::int64_t copies = channels < narrow ? narrow / channels : 1;
  while (pixels % copies != 0) --copies;
  return {channels, pixels / copies, channels * copies};
}
inline ChannelPack channel_pack_of(const Tensor& x) {
  const std::int64_t channels = x.shape.back();
  return channel_pack_of(channels, x.count() / channels);
}

// Copies the first numbers of a row, one a channel, to the rest of it.
template <typename T>
void spread_over(const ChannelPack& pack, T* row) {
  for (std::int64_t column = pack.channels; column < pack.width; ++column) row[column] = row[column - pack.channels];
}

inline double sum_of_copies(const ChannelPack& pack, const double* row, std::int64_t channel) {
  double sum = 0;
  for (std::int64_t column = channel; column < pack.width; column += pack.channels) sum += row[column];
  return sum;
}

}  // namespace sn::cpu

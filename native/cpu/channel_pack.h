// Channels as the columns of a matrix. Few channels are laid side by side several times, so that a row fills vectors
// whatever their number: 3 channels of 1024 pixels are 64 rows of 16 times 3 columns.
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

// Fills a row of which the first copy is there.
template <typename T>
void spread_over(const ChannelPack& columns, T* row) {
  for (std::int64_t column = columns.channels; column < columns.width; ++column) row[column] = row[column - columns.channels];
}

inline double sum_of_copies(const ChannelPack& columns, const double* row, std::int64_t channel) {
  double sum = 0;
  for (std::int64_t column = channel; column < columns.width; column += columns.channels) sum += row[column];
  return sum;
}

}  // namespace sn::cpu

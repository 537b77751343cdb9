// Channels as the columns of a matrix. Few channels are laid side by side several times, so that a row fills vectors
// whatever their number: 3 channels of 1024 pixels are 64 rows of 16 times 3 columns.
#pragma once

#include <cstdint>
#include <vector>

#include "core/tensor.h"

namespace sn::cpu {

struct Columns {
  std::int64_t channels, rows, width;

  std::int64_t copies() const { return width / channels; }
};

inline Columns columns_of(const Tensor& x) {
  constexpr std::int64_t narrow = 64;
  const std::int64_t channels = x.shape.back();
  const std::int64_t pixels = x.count() / channels;
  std::int64_t copies = channels < narrow ? narrow / channels : 1;
  while (pixels % copies != 0) --copies;
  return {channels, pixels / copies, channels * copies};
}

// value(channel) for every column.
template <typename T, typename Function>
std::vector<T> per_column(const Columns& columns, Function&& value) {
  std::vector<T> values(static_cast<std::size_t>(columns.width));
  for (std::int64_t column = 0; column < columns.width; ++column) {
    values[static_cast<std::size_t>(column)] = static_cast<T>(value(column % columns.channels));
  }
  return values;
}

inline double sum_of_copies(const Columns& columns, const double* row, std::int64_t channel) {
  double sum = 0;
  for (std::int64_t column = channel; column < columns.width; column += columns.channels) sum += row[column];
  return sum;
}

}  // namespace sn::cpu

// How work is cut into pieces.
#pragma once

#include <cstdint>

namespace sn::cuda {

// Layouts are made for the largest devices, those of 132 multiprocessors, on all devices: sums then have the same order
// and the same result on each of them.
constexpr std::int64_t layout_multiprocessors = 132;

// How many pieces of `size` cover `count`.
template <typename T>
constexpr T ceil_div(T count, T size) {
  return (count + size - 1) / size;
}

}  // namespace sn::cuda

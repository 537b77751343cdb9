// Sums over the numbers of each row, shared by the norms and the passes of SphereConv.
#pragma once

#include "cpu/kernels/parallel.h"

namespace sn::cpu::SN_ISA {

// An element costs more in these kernels than elsewhere: threads pay sooner.
constexpr std::int64_t sphere_threshold = parallel_threshold / 2;

// Rows whose sums are taken together.
constexpr std::int64_t block_positions = 128;
constexpr int lanes = 16;

// Turns the `lanes` partial sums of each row into its sum. It takes two steps, the second across rows, so that both are
// vector code; for an OpenMP reduction GCC 12 would add the lanes of a row one after the other.
template <typename T>
struct RowSums {
  T quarters[block_positions * 4];

  inline __attribute__((always_inline)) void put(std::int64_t row, const T* by_lane) {
    static_assert(lanes == 16);
    for (int i = 0; i < 4; ++i)
      quarters[row * 4 + i] = (by_lane[i] + by_lane[i + 4]) + (by_lane[i + 8] + by_lane[i + 12]);
  }
  inline __attribute__((always_inline)) T of(std::int64_t row) const {
    const T* q = quarters + row * 4;
    return (q[0] + q[1]) + (q[2] + q[3]);
  }
};

}  // namespace sn::cpu::SN_ISA

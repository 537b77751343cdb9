// How the loops of this folder are spread over threads.
#pragma once

#include <omp.h>

#include <cstdint>

namespace sn::cpu::SN_ISA {

// Below this many elements waking the threads costs more than they save.
constexpr std::int64_t parallel_threshold = 32768;

struct Range {
  std::int64_t begin, end;
};

static inline Range share_of(std::int64_t count, int thread, int threads) {
  return {count * thread / threads, count * (thread + 1) / threads};
}

template <typename Body>
static inline void for_each_element(std::int64_t count, Body body) {
#pragma omp parallel for simd schedule(static) firstprivate(body) if (parallel : count > parallel_threshold)
  for (std::int64_t i = 0; i < count; ++i) body(i);
}

// body(index of the element, its column)
template <typename Body>
static inline void for_each_in_rows(std::int64_t rows, std::int64_t width, Body body) {
#pragma omp parallel for schedule(static) firstprivate(body) if (rows * width > parallel_threshold)
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t first = row * width;
#pragma omp simd
    for (std::int64_t column = 0; column < width; ++column) body(first + column, column);
  }
}

}  // namespace sn::cpu::SN_ISA

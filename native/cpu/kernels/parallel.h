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

// body(range) for every thread's share of [0, count), or for all of it in the calling thread. No OpenMP region with an
// `if` clause does that: where it is false, libgomp makes a team of one and calls the kernel, half a microsecond.
template <typename Body>
static inline void in_shares(std::int64_t count, bool parallel, Body body) {
  if (!parallel) return body(Range{0, count});
#pragma omp parallel firstprivate(body)
  body(share_of(count, omp_get_thread_num(), omp_get_num_threads()));
}

template <typename Body>
static inline void for_each_element(std::int64_t count, Body body) {
  in_shares(count, count > parallel_threshold, [=](Range range) {
#pragma omp simd
    for (std::int64_t i = range.begin; i < range.end; ++i) body(i);
  });
}

// body(index of the element, its column)
template <typename Body>
static inline void for_each_in_rows(std::int64_t rows, std::int64_t width, Body body) {
  in_shares(rows, rows * width > parallel_threshold, [=](Range range) {
    for (std::int64_t row = range.begin; row < range.end; ++row) {
      const std::int64_t first = row * width;
#pragma omp simd
      for (std::int64_t column = 0; column < width; ++column) body(first + column, column);
    }
  });
}

}  // namespace sn::cpu::SN_ISA

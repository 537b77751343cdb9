#include "cpu/kernels/make.h"
#include "cpu/kernels/parallel.h"
#include "math/random.h"
#include "math/relu.h"

namespace sn::cpu::SN_ISA {
namespace {

template <typename T>
void relu(const T* x, T* y, std::int64_t count) {
  for_each_element(count, [=](std::int64_t i) { y[i] = math::relu(x[i]); });
}

template <typename T>
void relu_backward(const T* y, const T* dy, T* dx, std::int64_t count) {
  for_each_element(count, [=](std::int64_t i) { dx[i] = math::relu_gradient(y[i], dy[i]); });
}

template <typename T>
void add(const T* a, const T* b, T* out, std::int64_t count) {
  for_each_element(count, [=](std::int64_t i) { out[i] = a[i] + b[i]; });
}

template <typename T>
void scale(const T* x, T factor, T* out, std::int64_t count) {
  for_each_element(count, [=](std::int64_t i) { out[i] = x[i] * factor; });
}

// Blocks, so that the counter within one is a 32-bit integer as wide as a float.
constexpr std::int64_t dropout_block = 4096;

template <typename T>
void dropout(const T* x, T* y, double probability, std::uint64_t seed, std::int64_t count) {
  const std::uint64_t key = math::random_key(seed);
  const std::int32_t threshold = math::dropout_threshold(probability);
  const T factor = T(1 / (1 - probability));
  const std::int64_t blocks = (count + dropout_block - 1) / dropout_block;
#pragma omp parallel for schedule(static) if (count > parallel_threshold)
  for (std::int64_t block = 0; block < blocks; ++block) {
    const std::int64_t first = block * dropout_block;
    const std::uint32_t high = std::uint32_t(first >> 32), low = std::uint32_t(first);
    const std::int32_t length = std::int32_t(first + dropout_block < count ? dropout_block : count - first);
#pragma omp simd
    for (std::int32_t i = 0; i < length; ++i) {
      const bool dropped = math::random_level(key, high, low + std::uint32_t(i)) < threshold;
      y[first + i] = dropped ? T(0) : x[first + i] * factor;
    }
  }
}

constexpr int lane_count = 16;

template <typename Term>
double lane_sum(Range range, Term term) {
  double lanes[lane_count] = {};
  std::int64_t i = range.begin;
  for (; i + lane_count <= range.end; i += lane_count) {
    for (int lane = 0; lane < lane_count; ++lane) lanes[lane] += term(i + lane);
  }
  double total = 0;
  for (; i < range.end; ++i) total += term(i);
  for (int lane = 0; lane < lane_count; ++lane) total += lanes[lane];
  return total;
}

// A fixed number of blocks: the result does not even depend on the number of threads.
template <typename Term>
double block_sum(std::int64_t count, Term term) {
  constexpr int blocks = 128;
  double partial[blocks];
  in_shares(blocks, count > parallel_threshold, [=, &partial](Range range) {
    for (std::int64_t i = range.begin; i < range.end; ++i) partial[i] = lane_sum(share_of(count, int(i), blocks), term);
  });
  double total = 0;
  for (int block = 0; block < blocks; ++block) total += partial[block];
  return total;
}

template <typename T>
double sum(const T* x, std::int64_t count) {
  return block_sum(count, [=](std::int64_t i) { return double(x[i]); });
}

template <typename T>
double sum_of_squares(const T* x, std::int64_t count) {
  return block_sum(count, [=](std::int64_t i) { return double(x[i]) * double(x[i]); });
}

}  // namespace

template <typename T>
ElementKernels<T> make_element_kernels() {
  return {relu<T>, relu_backward<T>, add<T>, scale<T>, dropout<T>, sum<T>, sum_of_squares<T>, make_pool_kernels<T>()};
}

template ElementKernels<float> make_element_kernels();
template ElementKernels<double> make_element_kernels();

}  // namespace sn::cpu::SN_ISA

// Kernels in which a block takes one row of a matrix, and sums of what the rows gave.
#pragma once

#include "cuda/reduce.h"

namespace sn::cuda {

constexpr int most_row_threads = 512;

// Over a block of any size, the same in every thread and in a fixed order; all of them call it.
template <typename T>
__device__ T row_sum(T value) {
  SN_SHARED(T, sums, warp_size);
  value = warp_sum(value);
  if (lane_id() == 0) sums[warp_id()] = value;
  sync_threads();
  const int warps = static_cast<int>(blockDim.x) / warp_size;
  value = warp_sum(lane_id() < warps ? sums[lane_id()] : T(0));
  sync_threads();  // the next call writes the array again
  return value;
}
template <typename T>
__device__ T row_max(T value) {
  SN_SHARED(T, highest, warp_size);
  value = warp_max(value);
  if (lane_id() == 0) highest[warp_id()] = value;
  sync_threads();
  const int warps = static_cast<int>(blockDim.x) / warp_size;
  value = warp_max(lane_id() < warps ? highest[lane_id()] : value);
  sync_threads();
  return value;
}

// The columns of a thread: `width` from each of first, first + step, ...
template <int width>
struct Columns {
  int first = static_cast<int>(threadIdx.x) * width;
  int step = static_cast<int>(blockDim.x) * width;
};

struct RowLaunch {
  const char* op;
  cudaStream_t stream;
  Shape matrix;
  int width;  // elements that a thread moves at once
};

// As many threads as a row has work for, up to most_row_threads.
template <typename... Parameters, typename... Arguments>
void launch_rows(const RowLaunch& how, void (*kernel)(Parameters...), Arguments... arguments) {
  const std::int64_t rows = how.matrix[0], warps = ceil_div<std::int64_t>(how.matrix[1], how.width * warp_size);
  if (rows == 0) return;
  const auto threads = std::clamp<std::int64_t>(warps * warp_size, warp_size, most_row_threads);
  launch({how.op, how.stream, static_cast<unsigned>(rows), static_cast<unsigned>(threads)}, kernel, arguments...);
}

struct DividedBy {
  double divisor;
  __device__ double operator()(double sum) const { return sum / divisor; }
};
struct SquareRoot {
  __device__ double operator()(double sum) const { return sqrt(sum); }
};

// Where sums go: that of the first `count` values, and of the next.
template <typename Out>
struct SumOutputs {
  Out* first;
  Out* second;
};

// Reads the values once: one block an output, since they are few.
template <typename Out, typename Finish>
__global__ void __launch_bounds__(most_row_threads)
    sum_values(const double* values, const std::int64_t count, const Finish finish, const SumOutputs<Out> outputs) {
  const double* own = values + blockIdx.x * count;
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += most_row_threads) sum += own[i];
  sum = block_sum<most_row_threads>(sum);
  if (threadIdx.x == 0) *(blockIdx.x == 0 ? outputs.first : outputs.second) = math::convert<Out>(finish(sum));
}

// first[0] = finish(sum of the values), of any dtype; with a second, values is [2, count] and has a row for each.
template <typename Finish>
void sum_into(const char* op, cudaStream_t stream, const Tensor& values, const Finish& finish, const Tensor& first,
              const Tensor& second = {}) {
  by_any_dtype(first.dtype, [&](auto tag) {
    using Out = decltype(tag);
    const SumOutputs<Out> outputs{first.write<Out>(), second.write<Out>()};
    launch({op, stream, second ? 2u : 1u, most_row_threads}, sum_values<Out, Finish>, values.read<double>(),
           values.shape.back(), finish, outputs);
  });
}

}  // namespace sn::cuda

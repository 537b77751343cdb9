// One function applied to every element, on as many blocks as the device runs at once.
#pragma once

#include <algorithm>

#include "cuda/launch.h"
#include "cuda/primitives.h"

namespace sn::cuda {

constexpr int element_threads = 256;

// Enough blocks for twice what runs at once; each thread takes several elements where there are more.
inline unsigned element_blocks(std::int64_t count) {
  constexpr std::int64_t most = layout_multiprocessors * 16;
  return static_cast<unsigned>(std::clamp<std::int64_t>(ceil_div<std::int64_t>(count, element_threads), 1, most));
}

template <typename Function>
__global__ void __launch_bounds__(element_threads) apply_to_elements(std::int64_t count, Function function) {
  for (std::int64_t i = global_id(); i < count; i += global_count()) function(i);
}

// function: a struct with `__device__ void operator()(std::int64_t i) const`.
template <typename Function>
void for_each_element(const char* op, cudaStream_t stream, std::int64_t count, Function function) {
  if (count == 0) return;
  launch({op, stream, element_blocks(count), element_threads}, apply_to_elements<Function>, count, function);
}

}  // namespace sn::cuda

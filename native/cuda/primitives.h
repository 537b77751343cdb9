// What kernels share: barriers, exchanges within a warp, reductions, shared memory, 16-byte loads. Blocks are whole
// warps of one dimension, every lane of a warp takes part in every exchange, and every thread of a block in every
// barrier: the emulation rejects anything else.
#pragma once

#include <cstdint>
#include <cstring>

#include <cuda_runtime.h>

#include "math/macros.h"

#if defined(SN_EMULATION)
#include "cuda/emulation/primitives.h"
#else

// In front of a loop: how often its body stands in the code. More hides latency, and takes registers.
#define SN_PRAGMA(text) _Pragma(#text)
#define SN_UNROLL(count) SN_PRAGMA(unroll count)

// An array of the block: SN_SHARED(float, sums, 32); then sums[i]. At the top of a kernel, never in a loop.
#define SN_SHARED(type, name, count) __shared__ type name[count]
// The launch's shared_bytes as an array.
#define SN_DYNAMIC_SHARED(type, name)                          \
  extern __shared__ __align__(16) unsigned char sn_dynamic_[]; \
  type* name = reinterpret_cast<type*>(sn_dynamic_)

namespace sn::cuda {

__device__ __forceinline__ void sync_threads() { __syncthreads(); }

// The value of lane `lane ^ mask`, and that of lane `source`.
template <typename T>
__device__ __forceinline__ T shuffle_xor(T value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}
template <typename T>
__device__ __forceinline__ T shuffle_from(T value, int source) {
  return __shfl_sync(0xffffffffu, value, source);
}

// Over the warp, the same in every lane and in a fixed order.
template <typename T>
__device__ __forceinline__ T warp_sum(T value) {
  for (int mask = 16; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  return value;
}
template <typename T>
__device__ __forceinline__ T warp_max(T value) {
  for (int mask = 16; mask > 0; mask /= 2) {
    const T other = shuffle_xor(value, mask);
    value = other > value ? other : value;
  }
  return value;
}

}  // namespace sn::cuda
#endif

namespace sn::cuda {

constexpr int warp_size = 32;

// Of the thread in its block of one dimension.
__device__ __forceinline__ int lane_id() { return static_cast<int>(threadIdx.x) % warp_size; }
__device__ __forceinline__ int warp_id() { return static_cast<int>(threadIdx.x) / warp_size; }

// Of the thread in the grid, and how many there are: a loop from the one in steps of the other covers any count.
__device__ __forceinline__ std::int64_t global_id() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ std::int64_t global_count() { return static_cast<std::int64_t>(gridDim.x) * blockDim.x; }

// Several elements moved by one instruction; their addresses are multiples of the pack's size.
template <typename T, int count>
struct alignas(sizeof(T) * count) Pack {
  T values[count];
};
template <typename T>
constexpr int pack_size = 16 / static_cast<int>(sizeof(T));
template <typename T>
using Packed = Pack<T, pack_size<T>>;

template <int count, typename T>
__device__ __forceinline__ Pack<T, count> load(const T* from) {
  return *reinterpret_cast<const Pack<T, count>*>(from);
}
template <typename T, int count>
__device__ __forceinline__ void store(T* to, const Pack<T, count>& pack) {
  *reinterpret_cast<Pack<T, count>*>(to) = pack;
}

}  // namespace sn::cuda

// Included by cuda/primitives.h: the same names on fibers.
#pragma once

#include "cuda/emulation/device.h"

#define SN_UNROLL(count)
#define SN_SHARED(type, name, count)                                                  \
  static thread_local ::sn::cuda::emulation::StaticShared<type, count> static_##name; \
  const ::sn::cuda::emulation::Shared<type> name = static_##name.get()
#define SN_DYNAMIC_SHARED(type, name) \
  const ::sn::cuda::emulation::Shared<type> name = ::sn::cuda::emulation::typed_dynamic_shared<type>()

namespace sn::cuda {

inline void sync_threads(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  emulation::block_barrier({file, line});
}

template <typename T>
T shuffle_from(T value, int source, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  const std::uint64_t* slots = emulation::warp_exchange({file, line}, emulation::to_slot(value));
  if (source < 0 || source >= emulation::warp_size) emulation::fail_thread("a shuffle reads from outside its warp");
  return emulation::from_slot<T>(slots[source]);
}
template <typename T>
T shuffle_xor(T value, int mask, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return shuffle_from(value, emulation::lane() ^ mask, file, line);
}

// One exchange in place of five; the butterfly's order of additions.
template <typename T, typename Combine>
T warp_butterfly(T value, emulation::Site site, Combine combine) {
  const std::uint64_t* slots = emulation::warp_exchange(site, emulation::to_slot(value));
  T values[emulation::warp_size];
  for (int i = 0; i < emulation::warp_size; ++i) values[i] = emulation::from_slot<T>(slots[i]);
  for (int mask = 16; mask > 0; mask /= 2) {
    T next[emulation::warp_size];
    for (int i = 0; i < emulation::warp_size; ++i) next[i] = combine(values[i], values[i ^ mask]);
    std::memcpy(values, next, sizeof(values));
  }
  return values[emulation::lane()];
}

template <typename T>
T warp_sum(T value, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return warp_butterfly(value, {file, line}, [](T a, T b) { return a + b; });
}
template <typename T>
T warp_max(T value, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return warp_butterfly(value, {file, line}, [](T a, T b) { return b > a ? b : a; });
}

}  // namespace sn::cuda

// Random numbers by counter: the value at an index depends on the seed and the index alone, so that a mask can be
// made again in any order, by any number of threads and on any device.
#pragma once

#include <cstdint>

#include "math/elementary.h"

namespace sn {
namespace math {
SN_BEGIN_ISA

// splitmix64's finaliser: neighbouring seeds give unrelated keys.
SN_HD std::uint64_t random_key(std::uint64_t seed) {
  std::uint64_t z = seed + 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// A bijection of 32 bits in which every input bit flips every output bit with probability one half.
SN_HD std::uint32_t mix_bits(std::uint32_t h) {
  h ^= h >> 16;
  h *= 0x7feb352du;
  h ^= h >> 15;
  h *= 0x846ca68bu;
  return h ^ (h >> 16);
}

// The bits at index high * 2^32 + low. 32-bit products only: every vector unit has them.
SN_HD std::uint32_t random_bits(std::uint64_t key, std::uint32_t high, std::uint32_t low) {
  const std::uint32_t first = mix_bits(low + std::uint32_t(key));
  return mix_bits(first ^ std::uint32_t(key >> 32) ^ (high * 0x9e3779b9u));
}

// Uniform over 2^24 values; compare it with dropout_threshold(p).
constexpr int random_range_bits = 24;
SN_HD std::int32_t random_level(std::uint64_t key, std::uint32_t high, std::uint32_t low) {
  return std::int32_t(random_bits(key, high, low) >> (32 - random_range_bits));
}

// Elements with random_level below this are dropped.
SN_HD std::int32_t dropout_threshold(double probability) {
  return std::int32_t(probability * (std::int32_t(1) << random_range_bits) + 0.5);
}

SN_END_ISA
}  // namespace math
}  // namespace sn

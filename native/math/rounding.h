// Narrower float formats by their bits, the same on every device.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "math/elementary.h"

namespace sn {
namespace math {

SN_HD std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits;
}
SN_HD float float_of(std::uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

// 10 bits of mantissa, as tensor cores read TF32: to the nearest, halves away from zero. NaN and infinity stay.
SN_HD float round_to_tf32(float value) {
  const std::uint32_t bits = bits_of(value);
  if ((bits & 0x7f800000u) == 0x7f800000u) return value;
  return float_of((bits + 0x1000u) & 0xffffe000u);
}

// bfloat16: the upper half of a float, to the nearest, halves to even.
struct Bfloat16 {
  std::uint16_t bits;
};

SN_HD Bfloat16 to_bfloat16(float value) {
  const std::uint32_t bits = bits_of(value);
  if (value != value) return {std::uint16_t((bits >> 16) | 0x40u)};
  return {std::uint16_t((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}
SN_HD float to_float(Bfloat16 value) { return float_of(std::uint32_t(value.bits) << 16); }

// From one element type to another. float64 goes to bfloat16 by way of float32.
template <typename To, typename From>
struct Converter {
  // Of the type, not of the function: nvcc takes no constexpr function of the host in one of both.
  static constexpr To least = std::numeric_limits<To>::min(), most = std::numeric_limits<To>::max();

  static SN_HD_MEMBER To convert(From value) {
    if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>) {
      // Without the fraction; what the type cannot hold becomes its nearest number, a NaN 0.
      if (value != value) return To(0);
      if (double(value) <= double(least)) return least;
      if (double(value) >= double(most)) return most;
    }
    return static_cast<To>(value);
  }
};
template <typename From>
struct Converter<Bfloat16, From> {
  static SN_HD_MEMBER Bfloat16 convert(From value) { return to_bfloat16(static_cast<float>(value)); }
};
template <typename To>
struct Converter<To, Bfloat16> {
  static SN_HD_MEMBER To convert(Bfloat16 value) { return Converter<To, float>::convert(to_float(value)); }
};
template <>
struct Converter<Bfloat16, Bfloat16> {
  static SN_HD_MEMBER Bfloat16 convert(Bfloat16 value) { return value; }
};
template <typename To, typename From>
SN_HD To convert(From value) {
  return Converter<To, From>::convert(value);
}

}  // namespace math
}  // namespace sn

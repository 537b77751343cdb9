// Narrower float formats by their bits, the same on every device.
#pragma once

#include <cstdint>
#include <cstring>

#include "math/angular.h"

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

}  // namespace math
}  // namespace sn

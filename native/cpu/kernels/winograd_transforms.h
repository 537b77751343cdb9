// The transforms of Winograd's F(4x4, 3x3) along one axis, on vectors or on single numbers V. They evaluate polynomials
// at the points 0, +-5/8, +-3/2 and infinity, which keep rounding errors small. Results are written `step` apart.
#pragma once

#include "cpu/kernels/kernels.h"

namespace sn::cpu::SN_ISA {

constexpr int points = 6;  // along each axis
constexpr int planes = winograd_planes;
static_assert(planes == points * points);

#if defined(__AVX512F__)
constexpr int vector_bytes = 64, block_rows = 12;
#elif defined(__AVX2__)
constexpr int vector_bytes = 32, block_rows = 6;
#else
constexpr int vector_bytes = 16, block_rows = 3;
#endif
constexpr int lanes = vector_bytes / static_cast<int>(sizeof(float));
typedef float Vector __attribute__((vector_size(vector_bytes)));

constexpr float a = 0.625F, b = 1.5F, a2 = a * a, b2 = b * b;

// For each point, one over the product of its distances to the other finite points: the factors of Lagrange's
// interpolation. The transform of the filters applies them, since there are fewer filters than pixels.
constexpr float weight_0 = 1 / (a2 * b2), weight_a = 1 / (2 * a2 * (a2 - b2)), weight_b = 1 / (2 * b2 * (b2 - a2));

// Writes the values of a polynomial at the points, from its even and odd parts at a and b.
template <typename V>
inline __attribute__((always_inline)) void put(V zero, V even_a, V odd_a, V even_b, V odd_b, V infinity, V* out,
                                               int step) {
  out[0] = zero;
  out[step] = even_a + odd_a;
  out[2 * step] = even_a - odd_a;
  out[3 * step] = even_b + odd_b;
  out[4 * step] = even_b - odd_b;
  out[5 * step] = infinity;
}

// Six pixels of the input, one axis of a tile.
template <typename V>
inline __attribute__((always_inline)) void transform_input(const V* d, V* out, int step) {
  const V even_a = d[4] - b2 * d[2], odd_a = a * (d[3] - b2 * d[1]);
  const V even_b = d[4] - a2 * d[2], odd_b = b * (d[3] - a2 * d[1]);
  put((d[4] - (a2 + b2) * d[2]) + (a2 * b2) * d[0], even_a, odd_a, even_b, odd_b,
      (d[5] - (a2 + b2) * d[3]) + (a2 * b2) * d[1], out, step);
}

// Three taps of a filter, one axis of it.
template <typename V>
inline __attribute__((always_inline)) void transform_taps(const V* w, V* out, int step) {
  const V even_a = weight_a * (w[0] + a2 * w[2]), odd_a = (weight_a * a) * w[1];
  const V even_b = weight_b * (w[0] + b2 * w[2]), odd_b = (weight_b * b) * w[1];
  put(weight_0 * w[0], even_a, odd_a, even_b, odd_b, w[2], out, step);
}

// The transpose of transform_taps: the gradient of three taps.
template <typename V>
inline __attribute__((always_inline)) void gradient_of_taps(const V* m, V* out, int step) {
  const V sum_a = weight_a * (m[1] + m[2]), difference_a = (weight_a * a) * (m[1] - m[2]);
  const V sum_b = weight_b * (m[3] + m[4]), difference_b = (weight_b * b) * (m[3] - m[4]);
  out[0] = weight_0 * m[0] + sum_a + sum_b;
  out[step] = difference_a + difference_b;
  out[2 * step] = (m[5] + a2 * sum_a) + b2 * sum_b;
}

// Four values of the output's gradient, one axis of a tile.
template <typename V>
inline __attribute__((always_inline)) void transform_gradient(const V* d, V* out, int step) {
  const V even_a = d[0] + a2 * d[2], odd_a = a * (d[1] + a2 * d[3]);
  const V even_b = d[0] + b2 * d[2], odd_b = b * (d[1] + b2 * d[3]);
  put(d[0], even_a, odd_a, even_b, odd_b, d[3], out, step);
}

// The transpose of transform_gradient: four outputs from the products at the points.
template <typename V>
inline __attribute__((always_inline)) void interpolate(const V* m, V* out, int step) {
  const V sum_a = m[1] + m[2], difference_a = a * (m[1] - m[2]);
  const V sum_b = m[3] + m[4], difference_b = b * (m[3] - m[4]);
  out[0] = m[0] + sum_a + sum_b;
  out[step] = difference_a + difference_b;
  out[2 * step] = a2 * sum_a + b2 * sum_b;
  out[3 * step] = (m[5] + a2 * difference_a) + b2 * difference_b;
}

template <typename V>
inline __attribute__((always_inline)) V load(const float* from) {
  V value;
  __builtin_memcpy(&value, from, sizeof(V));
  return value;
}
template <typename V>
inline __attribute__((always_inline)) void store(float* to, V value) {
  __builtin_memcpy(to, &value, sizeof(V));
}

}  // namespace sn::cpu::SN_ISA

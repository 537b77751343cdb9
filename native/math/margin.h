// The margin function g_m of GA-Softmax and its slope: g_m(theta) = g(m theta - j pi) - 2j with
// j = min(floor(m theta / pi), m - 1), continuous and falling from 1 to 1 - 2m (MATHS: losses; paper: eq. 11).
#pragma once

#include "math/angular.h"

namespace sn {
namespace math {

template <typename T>
struct ValueAndSlope {
  T value;
  T slope;  // d value / d s
};

// g itself and dg/ds.
template <typename T, typename G>
SN_HD ValueAndSlope<T> angular_value(const G& g, T s) {
  const Angle<T> angle = angle_of(s);
  return {g.value(angle.a), g.gradient(angle.a, angle.sine)};
}
template <typename T>
SN_HD ValueAndSlope<T> angular_value(const Cosine<T>&, T s) {
  return {s, T(1)};
}

// The sector j of theta, by comparing s with cos(j pi / m): exact where an arccos would round across a border.
template <typename T>
SN_HD int margin_sector(T s, double m) {
  int j = 0;
  while (j + 1 < m && s <= T(cos((j + 1) * pi / m))) ++j;
  return j;
}

template <typename T, typename G>
SN_HD ValueAndSlope<T> margin_value(const G& g, T s, double m) {
  const int j = margin_sector(s, m);
  const Angle<T> angle = angle_of(s);
  // The angle m theta - j pi, with the sine of theta itself: dg_m/ds = m g'(m theta - j pi) / sin(theta)
  const T multiple = T(m) * angle.a + T((1 - m) * pi / 2 + j * pi);
  return {g.value(multiple) - T(2 * j), T(m) * g.gradient(multiple, angle.sine)};
}

// Linear: one straight line 1 - 2 m theta / pi, no sectors, any real m.
template <typename T>
SN_HD ValueAndSlope<T> margin_value(const Linear<T>& g, T s, double m) {
  const Angle<T> angle = angle_of(s);
  return {T(m) * g.value(angle.a) + T(1 - m), T(m) * g.gradient(angle.a, angle.sine)};
}

// Cosine: (-1)^j T_m(s) - 2j with slope (-1)^j m U_{m-1}(s), Chebyshev polynomials without a singularity.
template <typename T>
SN_HD ValueAndSlope<T> margin_value(const Cosine<T>&, T s, double m) {
  T first_previous = T(1), first = s;          // T_0, T_1
  T second_previous = T(0), second = T(1);     // U_-1, U_0
  for (int degree = 1; degree < m; ++degree) {
    const T first_next = T(2) * s * first - first_previous;
    const T second_next = T(2) * s * second - second_previous;
    first_previous = first;
    first = first_next;
    second_previous = second;
    second = second_next;
  }
  const int j = margin_sector(s, m);
  const T sign = (j % 2 == 0) ? T(1) : T(-1);
  return {sign * first - T(2 * j), sign * T(m) * second};
}

// The annealed target: (lambda g + g_m) / (1 + lambda).
template <typename T, typename G>
SN_HD ValueAndSlope<T> target_value(const G& g, T s, double m, double lambda) {
  const ValueAndSlope<T> plain = angular_value(g, s), margin = margin_value(g, s, m);
  const T kept = T(lambda / (1 + lambda)), taken = T(1 / (1 + lambda));
  return {kept * plain.value + taken * margin.value, kept * plain.slope + taken * margin.slope};
}

// Calls function(g) for the angular function of that name.
template <typename T, typename Function>
void by_angular(Angular angular, double k, Function&& function) {
  switch (angular) {
    case Angular::linear: return function(Linear<T>{});
    case Angular::cosine: return function(Cosine<T>{});
    case Angular::sigmoid: return function(make_sigmoid<T>(k));
  }
}

}  // namespace math
}  // namespace sn

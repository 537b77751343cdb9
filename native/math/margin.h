// Margins: what the losses make of g for the true class, with their slopes. A new margin is a struct here and a place
// in MarginFunctions; apply(g, s, m) is monotone in theta. docs/maths.md: losses.
#pragma once

#include "math/angular.h"

namespace sn {

// Which margin: its place in math::MarginFunctions.
enum class Margin : int {};

namespace math {

// The sector j of theta, by comparing s with cos(j pi / m): exact where an arccos would round across a border.
template <typename T>
SN_HD int margin_sector(T s, double m) {
  int j = 0;
  while (j + 1 < m && s <= T(cos((j + 1) * pi / m))) ++j;
  return j;
}

// GA-Softmax: g_m(theta) = g(m theta - j pi) - 2j with j = min(floor(m theta / pi), m - 1), continuous and falling from
// 1 to 1 - 2m (paper: eq. 11).
struct MultiplicativeMargin {
  static constexpr const char* name = "multiplicative";

  template <typename T, typename G>
  static SN_HD_MEMBER ValueAndSlope<T> apply(const G& g, T s, double m) {
    const int j = margin_sector(s, m);
    const Angle<T> angle = angle_of(s);
    // The angle m theta - j pi, with the sine of theta itself: dg_m/ds = m g'(m theta - j pi) / sin(theta)
    const T multiple = T(m) * angle.a + T((1 - m) * pi / 2 + j * pi);
    return {g.value(multiple) - T(2 * j), T(m) * g.gradient(multiple, angle.sine)};
  }

  // Linear: one straight line 1 - 2 m theta / pi, no sectors, any real m.
  template <typename T>
  static SN_HD_MEMBER ValueAndSlope<T> apply(const Linear<T>& g, T s, double m) {
    const Angle<T> angle = angle_of(s);
    return {T(m) * g.value(angle.a) + T(1 - m), T(m) * g.gradient(angle.a, angle.sine)};
  }

  // Cosine: (-1)^j T_m(s) - 2j with slope (-1)^j m U_{m-1}(s), Chebyshev polynomials without a singularity.
  template <typename T>
  static SN_HD_MEMBER ValueAndSlope<T> apply(const Cosine<T>&, T s, double m) {
    T first_previous = T(1), first = s;       // T_0, T_1
    T second_previous = T(0), second = T(1);  // U_-1, U_0
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
};

// ArcFace: g(theta + m), 0 <= m <= pi. Beyond pi it goes on with the slope of g, from g(pi) = -1 on: continuous and
// falling, where the published code jumps to cos(theta) - m sin(m).
struct AdditiveAngleMargin {
  static constexpr const char* name = "additive-angle";

  template <typename T, typename G>
  static SN_HD_MEMBER ValueAndSlope<T> apply(const G& g, T s, double m) {
    const Angle<T> angle = angle_of(s);
    const T moved = at_least(angle.a - T(m), -pi / 2);
    if (s >= T(-cos(m))) return {g.value(moved), g.gradient(moved, angle.sine)};
    const ValueAndSlope<T> plain = g.of_cosine(s);
    return {plain.value - T(1) - g.value(T(m - pi / 2)), plain.slope};
  }
};

// CosFace: g(theta) - m, m >= 0.
struct AdditiveValueMargin {
  static constexpr const char* name = "additive-value";

  template <typename T, typename G>
  static SN_HD_MEMBER ValueAndSlope<T> apply(const G& g, T s, double m) {
    const ValueAndSlope<T> plain = g.of_cosine(s);
    return {plain.value - T(m), plain.slope};
  }
};

// In the order of their codes. `marginFunctions` in lib/ops has the same names.
using MarginFunctions = TypeList<MultiplicativeMargin, AdditiveAngleMargin, AdditiveValueMargin>;

template <typename T, typename G, typename... Margins>
SN_HD ValueAndSlope<T> margin_value(TypeList<Margins...>, Margin margin, const G& g, T s, double m) {
  ValueAndSlope<T> result{};
  int index = 0;
  ((index++ == static_cast<int>(margin) ? void(result = Margins::apply(g, s, m)) : void()), ...);
  return result;
}

// The annealed target: (lambda g + g_m) / (1 + lambda).
template <typename T, typename G>
SN_HD ValueAndSlope<T> target_value(const G& g, T s, Margin margin, double m, double lambda) {
  const ValueAndSlope<T> plain = g.of_cosine(s), with_margin = margin_value(MarginFunctions(), margin, g, s, m);
  const T share = T(lambda / (1 + lambda)), rest = T(1 / (1 + lambda));
  return {share * plain.value + rest * with_margin.value, share * plain.slope + rest * with_margin.slope};
}

}  // namespace math
}  // namespace sn

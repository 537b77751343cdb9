// The stated errors of native/math, against long double.
#include <cmath>
#include <limits>
#include <utility>

#include "check.h"
#include "math/angular.h"
#include "math/margin.h"
#include "math/norms.h"
#include "math/rounding.h"

using namespace sn;

namespace {

// Calls body(s) on a grid over [-1, 1] that is dense at 0 and at both ends.
template <typename Body>
void over_cosines(Body body) {
  for (int i = -20000; i <= 20000; ++i) body(static_cast<float>(i / 20000.0));
  for (double tiny = 1e-30; tiny < 1e-3; tiny *= 1.7) {
    for (double s : {tiny, -tiny, 1 - tiny, tiny - 1}) body(static_cast<float>(s));
  }
}

template <typename T, typename Body>
void for_each_angular(Body body) {
  for (int code = 0; code < math::AngularFunctions<T>::size; ++code) {
    math::by_angular<T>(static_cast<Angular>(code), body);
  }
}

double relative(double got, long double exact) {
  if (exact == 0) return got == 0 ? 0 : std::numeric_limits<double>::infinity();
  return static_cast<double>(std::fabs((got - exact) / exact));
}

}  // namespace

SN_TEST(angle_is_accurate, "asin(s), its sine and sin(theta) are within 3e-7 relative in float32") {
  double worst_angle = 0, worst_sine = 0, worst_back = 0;
  over_cosines([&](float s) {
    const auto angle = math::angle_of(s);
    worst_angle = std::fmax(worst_angle, relative(angle.a, asinl(s)));
    worst_sine = std::fmax(worst_sine, relative(angle.sine, sqrtl((1.0L - s) * (1.0L + s))));
    worst_back = std::fmax(worst_back, relative(math::sine_of(angle.a), sinl(angle.a)));
    const double sine_error = std::fabs(math::cosine_of(angle.a) - static_cast<double>(cosl(angle.a)));
    SN_CHECK_BELOW(sine_error, 2e-7);
  });
  SN_CHECK_BELOW(worst_back, 3e-7);
  SN_CHECK_BELOW(worst_angle, 3e-7);
  SN_CHECK_BELOW(worst_sine, 3e-7);
}

SN_TEST(angle_at_poles, "theta at 0, pi/2 and pi is exact") {
  SN_CHECK(math::angle_of(0.0f).a == 0.0f);
  SN_CHECK(math::angle_of(1.0f).sine == 0.0f);
  SN_CHECK(math::angle_of(-1.0f).sine == 0.0f);
  SN_CHECK_BELOW(relative(math::angle_of(1.0f).a, math::pi / 2), 1e-7);
  SN_CHECK_BELOW(relative(math::angle_of(-1.0f).a, -math::pi / 2), 1e-7);
  SN_CHECK_BELOW(relative(math::arcsine(1.0f + 1e-6f), math::pi / 2), 1e-7);  // as rounding leaves it
  SN_CHECK(std::isnan(math::arcsine(std::numeric_limits<float>::quiet_NaN())));
  SN_CHECK(math::clamp_cosine(1.0f + 1e-6f) == 1.0f);
  SN_CHECK(math::clamp_cosine(-1.0f - 1e-6f) == -1.0f);
  SN_CHECK(std::isnan(math::clamp_cosine(std::numeric_limits<float>::quiet_NaN())));
}

SN_TEST(tangent_is_accurate, "tanh is within 5e-7 relative in float32, saturates, and passes NaN on") {
  double worst = 0;
  for (double v = 1e-20; v < 100; v *= 1.001) {
    for (float x : {static_cast<float>(v), static_cast<float>(-v)}) {
      const auto t = math::hyperbolic_tangent(x);
      worst = std::fmax(worst, relative(t.numerator / t.denominator, tanhl(x)));
    }
  }
  SN_CHECK_BELOW(worst, 5e-7);
  const auto nan = math::hyperbolic_tangent(std::numeric_limits<float>::quiet_NaN());
  SN_CHECK(std::isnan(nan.numerator / nan.denominator));
}

SN_TEST(g_is_anchored, "every g has g(0) = 1, g(pi/2) = 0, g(pi) = -1 for every k, also where eq. 4 overflows") {
  for_each_angular<float>([](auto type) {
    using G = typename decltype(type)::type;
    for (double k : {1e-300, 1e-40, 0.01, 0.017, 0.05, 0.1, 0.3, 0.7, 2.0, 10.0}) {
      const auto g = G::make(k);
      SN_CHECK_BELOW(std::fabs(g.value(math::angle_of(1.0f).a) - 1), 1e-6);
      SN_CHECK(g.value(math::angle_of(0.0f).a) == 0.0f);
      SN_CHECK_BELOW(std::fabs(g.value(math::angle_of(-1.0f).a) + 1), 1e-6);
    }
  });
}

SN_TEST(g_is_saved, "the backward of every g gets its value and slope from what forward saves of s") {
  for_each_angular<double>([](auto type) {
    using G = typename decltype(type)::type;
    const auto g = G::make(0.3);
    for (double s = -0.95; s <= 0.95; s += 0.05) {
      const double saved = G::saved(s), h = 1e-6;
      const auto found = g.of_cosine(s);
      const double slope = (g.saved_value(G::saved(s + h)) - g.saved_value(G::saved(s - h))) / (2 * h);
      SN_CHECK_BELOW(std::fabs(G::cosine(saved) - s), 1e-14);
      SN_CHECK_BELOW(std::fabs(g.saved_value(saved) - found.value), 1e-14);
      SN_CHECK_BELOW(std::fabs(g.template saved_gradient<false>(saved) - found.slope), 1e-12);
      // The slope of the square has a corner at 0: there the difference is off by h.
      SN_CHECK_BELOW(std::fabs(found.slope - slope), 2 * h);
    }
  });
}

SN_TEST(g_is_stored, "the constants of every g come back from the block that they are stored in") {
  for_each_angular<double>([](auto type) {
    using G = typename decltype(type)::type;
    constexpr int stride = 3;
    double block[(G::parameters + 1) * stride] = {};
    // Volatile: the compiler's own tanh, where it knows k, may differ from the library's in the last bit.
    volatile double first = 0.1;
    for (int o = 0; o < stride; ++o) G::make(first + o).store(block + o, stride);
    for (int o = 0; o < stride; ++o) {
      const auto g = G::make(first + o), loaded = G::load({block, stride}, o);
      SN_CHECK(g.value(0.7) == loaded.value(0.7));
      SN_CHECK(g.curvature_gradient(0.7) == loaded.curvature_gradient(0.7));
    }
  });
}

SN_TEST(sigmoid_gradients, "dg/ds and dg/dk of the sigmoid agree with differences of the paper's eq. 4") {
  const auto paper = [](long double theta, long double k) {
    const long double e = expl(-static_cast<long double>(math::pi) / (2 * k));
    const long double u = expl(theta / k - static_cast<long double>(math::pi) / (2 * k));
    return (1 + e) / (1 - e) * (1 - u) / (1 + u);
  };
  for (double k : {0.1, 0.3, 0.7, 2.0}) {
    const auto g = math::Sigmoid<double>::make(k);
    for (double s = -0.95; s <= 0.95; s += 0.05) {
      const auto angle = math::angle_of(s);
      const long double h = 1e-6L, theta = acosl(s);
      const long double ds = (paper(acosl(s + h), k) - paper(acosl(s - h), k)) / (2 * h);
      const long double dk = (paper(theta, k + h) - paper(theta, k - h)) / (2 * h);
      SN_CHECK_BELOW(std::fabs(g.value(angle.a) - static_cast<double>(paper(theta, k))), 1e-12);
      SN_CHECK_BELOW(std::fabs(g.gradient(angle.a, angle.sine) - static_cast<double>(ds)), 1e-7);
      SN_CHECK_BELOW(std::fabs(g.curvature_gradient(angle.a) - static_cast<double>(dk)), 1e-7);
    }
  }
}

namespace {

// Checks that a margin falls with theta and does not jump; the values at 0 and pi.
template <typename G>
std::pair<double, double> check_fall(Margin margin, const G& g, double m) {
  const auto value_of = [&](double s) { return math::margin_value(math::MarginFunctions(), margin, g, s, m).value; };
  const double first = value_of(1);
  double before = first;
  constexpr int steps = 20000;
  for (int i = 1; i <= steps; ++i) {
    const double value = value_of(std::cos(math::pi * i / steps));
    if (value > before + 1e-9 || before - value > 0.02) {
      SN_CHECK(value <= before + 1e-9 && before - value <= 0.02);
      break;
    }
    before = value;
  }
  return {first, before};
}

}  // namespace

SN_TEST(margins_fall, "every margin falls with theta, without a jump; the multiplicative one from 1 to 1 - 2m") {
  for_each_angular<double>([&](auto type) {
    using G = typename decltype(type)::type;
    for (int code = 0; code < math::MarginFunctions::size; ++code) {
      for (double m : {1.0, 2.0, 3.0}) check_fall(static_cast<Margin>(code), G::make(0.3), m);
    }
    for (double m : {1.0, 2.0, 3.0, 4.0}) {
      const auto [first, last] = check_fall(Margin{}, G::make(0.3), m);
      SN_CHECK_BELOW(std::fabs(first - 1), 1e-9);
      SN_CHECK_BELOW(std::fabs(last - (1 - 2 * m)), 1e-9);
    }
  });
  check_fall(Margin{}, math::Linear<double>(), 1.5);
}

SN_TEST(converts, "numbers go to bfloat16 and back to the nearest, halves to even; a NaN stays one") {
  const auto through = [](float value) { return math::convert<float>(math::convert<math::Bfloat16>(value)); };
  SN_CHECK(through(1.0f) == 1.0f);
  SN_CHECK(through(1.0f + 0x1p-8f) == 1.0f);
  SN_CHECK(through(1.0f + 0x1.8p-7f) == 1.0f + 0x1p-6f);
  SN_CHECK(math::convert<double>(math::convert<math::Bfloat16>(-3.5)) == -3.5);
  SN_CHECK(math::convert<std::int32_t>(math::convert<math::Bfloat16>(7)) == 7);
  SN_CHECK(std::isnan(through(std::numeric_limits<float>::quiet_NaN())));
}

SN_TEST(norm_guard, "a vector shorter than eps has inverse norm 0; the authors' guard adds eps") {
  SN_CHECK(math::guarded_inverse_norm(0.0f, 1e-6f, false) == 0.0f);
  SN_CHECK(math::guarded_inverse_norm(4.0f, 1e-6f, false) == 0.5f);
  SN_CHECK_BELOW(std::fabs(math::guarded_inverse_norm(0.0, 1e-4, true) - 100), 1e-9);
}

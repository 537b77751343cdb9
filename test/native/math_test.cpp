// The stated errors of native/math, against long double.
#include <cmath>
#include <limits>

#include "check.h"
#include "math/angular.h"
#include "math/margin.h"

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
    const double sine_error = std::fabs(math::sine_of_theta(angle.a) - static_cast<double>(cosl(angle.a)));
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

SN_TEST(g_is_anchored, "g(0) = 1, g(pi/2) = 0, g(pi) = -1 for every k, also where eq. 4 overflows") {
  for (double k : {1e-300, 1e-40, 0.01, 0.017, 0.05, 0.1, 0.3, 0.7, 2.0, 10.0}) {
    const auto g = math::make_sigmoid<float>(k);
    SN_CHECK_BELOW(std::fabs(g.value(math::angle_of(1.0f).a) - 1), 1e-6);
    SN_CHECK(g.value(math::angle_of(0.0f).a) == 0.0f);
    SN_CHECK_BELOW(std::fabs(g.value(math::angle_of(-1.0f).a) + 1), 1e-6);
  }
  SN_CHECK_BELOW(std::fabs(math::Linear<float>().value(math::angle_of(1.0f).a) - 1), 1e-6);
}

SN_TEST(sigmoid_gradients, "dg/ds and dg/dk of the sigmoid agree with differences of the paper's eq. 4") {
  const auto paper = [](long double theta, long double k) {
    const long double e = expl(-static_cast<long double>(math::pi) / (2 * k));
    const long double u = expl(theta / k - static_cast<long double>(math::pi) / (2 * k));
    return (1 + e) / (1 - e) * (1 - u) / (1 + u);
  };
  for (double k : {0.1, 0.3, 0.7, 2.0}) {
    const auto g = math::make_sigmoid<double>(k);
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

SN_TEST(margins_fall, "g_m falls from 1 to 1 - 2m, without a jump, for every g and m") {
  const auto check = [](auto g, double m) {
    double before = math::margin_value(g, 1.0, m).value;
    SN_CHECK_BELOW(std::fabs(before - 1), 1e-9);
    constexpr int steps = 20000;
    for (int i = 1; i <= steps; ++i) {
      const double value = math::margin_value(g, std::cos(math::pi * i / steps), m).value;
      if (value > before + 1e-9 || before - value > 0.02) {
        SN_CHECK(value <= before + 1e-9 && before - value <= 0.02);
        break;
      }
      before = value;
    }
    SN_CHECK_BELOW(std::fabs(before - (1 - 2 * m)), 1e-9);
  };
  for (double m : {1.0, 2.0, 3.0, 4.0}) {
    check(math::Linear<double>(), m);
    check(math::Cosine<double>(), m);
    check(math::make_sigmoid<double>(0.3), m);
  }
  check(math::Linear<double>(), 1.5);
}

SN_TEST(norm_guard, "a vector shorter than eps has inverse norm 0; the authors' guard adds eps") {
  SN_CHECK(math::guarded_inverse_norm(0.0f, 1e-6f, false) == 0.0f);
  SN_CHECK(math::guarded_inverse_norm(4.0f, 1e-6f, false) == 0.5f);
  SN_CHECK_BELOW(std::fabs(math::guarded_inverse_norm(0.0, 1e-4, true) - 100), 1e-9);
}

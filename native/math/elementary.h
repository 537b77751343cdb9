// Elementary functions for host vectorisers and for CUDA alike: inline, branch-free, stateless. float32 by minimax
// polynomials with a stated error (test/native/math_test.cpp), float64 by the standard library.
#pragma once

#include <cmath>

#include "math/macros.h"

namespace sn {
namespace math {
SN_BEGIN_ISA

constexpr double pi = 3.14159265358979323846;

SN_BOUND greatest_cosine = 1;
SN_BOUND least_cosine = -1;
SN_BOUND greatest_tangent_argument = 7.85;
SN_BOUND least_tangent_argument = -7.85;

// A NaN stays one.
template <typename T>
SN_HD T at_most(T x, double bound) {
  const T most = T(bound);
  return most < x ? most : x;
}
template <typename T>
SN_HD T at_least(T x, double bound) {
  const T least = T(bound);
  return least > x ? least : x;
}

template <typename T>
SN_HD T magnitude(T x) {
  return x < T(0) ? -x : x;
}

SN_HD float square_root(float x) { return sqrtf(x); }
SN_HD double square_root(double x) { return sqrt(x); }

// Around 0 an odd minimax polynomial, beyond |s| = 1/2 the same one of the half angle: one root, no division, no
// branch. float32: relative error below 3e-7. What rounding leaves beyond 1 counts as 1.
SN_HD float arcsine(float s) {
  const float magnitude = at_most(fabsf(s), greatest_cosine);
  const bool outer = magnitude > 0.5f;
  const float z = outer ? 0.5f - 0.5f * magnitude : magnitude * magnitude;
  const float root = outer ? sqrtf(z) : magnitude;
  float p = 0.0421663086365568f;
  p = p * z + 0.024179514601518463f;
  p = p * z + 0.045470375966875955f;
  p = p * z + 0.07495297643102046f;
  p = p * z + 0.16666752482011812f;
  const float half = root + root * (z * p);
  return copysignf(outer ? float(pi / 2) - 2.0f * half : half, s);
}
SN_HD double arcsine(double s) { return asin(at_least(at_most(s, greatest_cosine), least_cosine)); }

// |a| <= pi/2. float32: relative error below 3e-7.
SN_HD float sine_of(float a) {
  const float z = a * a;
  float p = 2.605780641611391e-06f;
  p = p * z - 0.0001980960290374591f;
  p = p * z + 0.008333066246109902f;
  p = p * z - 0.16666659550429028f;
  return a + a * (z * p);
}
SN_HD double sine_of(double a) { return sin(a); }

// cos(a), |a| <= pi/2. float32: error below 2e-7, half of which rounding a makes at the poles anyway.
SN_HD float cosine_of(float a) {
  const float z = a * a;
  float p = 2.319438654239498e-05f;
  p = p * z - 0.0013855927186953055f;
  p = p * z + 0.04166398945520803f;
  p = p * z - 0.499999322930693f;
  return p * z + 1.0f;
}
SN_HD double cosine_of(double a) { return cos(a); }

// tanh(v) as a fraction, so that what is divided further costs one division. float32: a minimax rational function of
// degree 7/8 on [-7.85, 7.85], beyond which tanh is 1 but for 3e-7; relative error below 5e-7, exact at 0, never NaN
// for a number.
template <typename T>
struct Fraction {
  T numerator;
  T denominator;
};
SN_HD Fraction<float> hyperbolic_tangent(float v) {
  const float x = at_least(at_most(v, greatest_tangent_argument), least_tangent_argument);
  const float z = x * x;
  float p = 1.6842484910739586e-05f;
  p = p * z + 0.004311305470764637f;
  p = p * z + 0.18812628090381622f;
  p = p * z + 1.4539722204208374f;
  float q = 3.6485451460066542e-07f;
  q = q * z + 0.00034994800807908177f;
  q = q * z + 0.034711103886365891f;
  q = q * z + 0.672782301902771f;
  q = q * z + 1.4539724588394165f;
  return {x * p, q};
}
SN_HD Fraction<double> hyperbolic_tangent(double v) { return {tanh(v), 1.0}; }

SN_END_ISA
}  // namespace math
}  // namespace sn

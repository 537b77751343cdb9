// The angular functions g, written in a = asin(s) = pi/2 - theta with s = cos(theta), so that no arccos is ever
// formed: near s = 0, where activations live, 1 - (2/pi) arccos(s) loses a quarter of float32's digits.
// Paper: eq. 2-4. Everything is inline, branch-free and stateless, for host vectorisers and for CUDA alike.
#pragma once

#include <cmath>

#if defined(__CUDACC__)
#define SN_HD __host__ __device__ __forceinline__
#else
// Static, so that copies compiled for different instruction sets never merge at link time.
#define SN_HD static inline __attribute__((always_inline))
#endif
#if defined(__CUDACC__)
#define SN_HD_MEMBER __host__ __device__ __forceinline__
#else
#define SN_HD_MEMBER inline __attribute__((always_inline))
#endif

namespace sn {

enum class Angular : int { linear = 0, cosine = 1, sigmoid = 2 };
enum class Positive : int { softplus = 0, absolute = 1 };

namespace math {
#if defined(SN_ISA)
// Member functions cannot be static: a namespace per instruction set keeps their symbols apart.
inline namespace SN_ISA {
#endif

constexpr double pi = 3.14159265358979323846;

// What loops clamp with: variables that nobody writes. GCC 12 makes one vminps or vmaxps of a clamp at a variable, but
// a compare and a blend of one at a constant.
#if defined(__CUDACC__)
#define SN_BOUND constexpr double
#else
#define SN_BOUND inline double
#endif
SN_BOUND greatest_cosine = 1;
SN_BOUND least_cosine = -1;
SN_BOUND greatest_tangent_argument = 7.85;
SN_BOUND least_tangent_argument = -7.85;
// ds/dtheta is unbounded at the poles although the operator's gradient is not (MATHS: backward).
SN_BOUND sine_floor = 1e-3;
// The same where s comes from a product of rounded operands (TF32, bfloat16), whose error is that large.
SN_BOUND rounded_sine_floor = 1e-2;

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

SN_HD float square_root(float x) { return sqrtf(x); }
SN_HD double square_root(double x) { return sqrt(x); }

// theta as the operators need it: a = asin(s) = pi/2 - theta, and sin(theta) = cos(a). Take the members one by one:
// GCC 12 does not vectorise a loop that hands the whole struct on.
template <typename T>
struct Angle {
  T a;
  T sine;
};

// Around 0 an odd minimax polynomial, beyond |s| = 1/2 the same one of the half angle: one root, no division, no
// branch. float32: relative error below 3e-7 (test/native/math_test.cpp). What rounding leaves beyond 1 counts as 1.
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

// sin(theta) = cos(a), |a| <= pi/2. float32: error below 2e-7, half of which rounding a makes at the poles anyway.
SN_HD float sine_of_theta(float a) {
  const float z = a * a;
  float p = 2.319438654239498e-05f;
  p = p * z - 0.0013855927186953055f;
  p = p * z + 0.04166398945520803f;
  p = p * z - 0.499999322930693f;
  return p * z + 1.0f;
}
SN_HD double sine_of_theta(double a) { return cos(a); }

// (1-s)(1+s) keeps the digits that 1 - s*s loses.
template <typename T>
SN_HD Angle<T> angle_of(T s) {
  return {arcsine(s), square_root((T(1) - s) * (T(1) + s))};
}

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

// Rounding can leave |s| a little above 1. A NaN stays one, to be reported where the loss is read.
template <typename T>
SN_HD T clamp_cosine(T s) {
  return at_least(at_most(s, greatest_cosine), least_cosine);
}

template <typename T>
SN_HD T floored(T sine) {
  const T least = T(sine_floor);
  return sine > least ? sine : least;
}

// Each g offers, of a and sin(theta): value, gradient = dg/ds and, where it has one, curvature_gradient = dg/dk.

template <typename T>
struct Linear {  // g = 1 - 2 theta / pi
  SN_HD_MEMBER T value(T a) const { return T(2 / pi) * a; }
  SN_HD_MEMBER T gradient(T, T sine) const { return T(2 / pi) / floored(sine); }
};

template <typename T>
struct Sigmoid {  // g = c tanh(a / 2k), c = 1 / tanh(pi / 4k): eq. 4 in a form that cannot overflow
  // c and its k-gradient depend on k alone: computed once a filter, in float64 (make_sigmoid).
  T half_inverse_k;
  T c;
  T dc_dk;

  SN_HD_MEMBER T value(T a) const {
    const Fraction<T> t = hyperbolic_tangent(a * half_inverse_k);
    return c * t.numerator / t.denominator;
  }
  SN_HD_MEMBER T gradient(T a, T sine) const {  // c/2k sech^2(v) / sin(theta), sech^2 = (1 - t)(1 + t)
    const Fraction<T> t = hyperbolic_tangent(a * half_inverse_k);
    return c * half_inverse_k * ((t.denominator - t.numerator) * (t.denominator + t.numerator)) /
           (t.denominator * t.denominator * floored(sine));
  }
  SN_HD_MEMBER T curvature_gradient(T a) const {  // dc/dk tanh(v) - c v/k sech^2(v)
    const T v = a * half_inverse_k;
    const Fraction<T> t = hyperbolic_tangent(v);
    const T inverse = T(1) / t.denominator;
    return (dc_dk * t.numerator - T(2) * c * half_inverse_k * v * inverse *
                                      ((t.denominator - t.numerator) * (t.denominator + t.numerator))) * inverse;
  }
};

template <typename T>
SN_HD Sigmoid<T> make_sigmoid(double curvature) {
  // Far below what float32 tells from a step function; smaller ones would make 1/k infinite.
  const double k = curvature > 1e-12 ? curvature : 1e-12;
  const double quarter = pi / (4 * k);
  const double hyperbolic_sine = sinh(quarter < 300 ? quarter : 300.0);
  return {T(1 / (2 * k)), T(1 / tanh(quarter)), T(pi / (4 * k * k) / (hyperbolic_sine * hyperbolic_sine))};
}

template <typename T>
struct Cosine {};  // g = s and dg/ds = 1 exactly: no angle is ever formed for it

// 1 / |v| from |v|^2. Below eps the vector counts as zero: its inverse norm is 0, hence s = 0 exactly and the
// gradient, which would be 1 / eps without bound on its direction, is 0 too. `add` is the authors' 1/sqrt(n + eps).
template <typename T>
SN_HD T guarded_inverse_norm(T squared, T eps, bool add) {
  if (add) return T(1) / square_root(squared + eps);
  return squared > eps * eps ? T(1) / square_root(squared) : T(0);
}

// k > 0 from a free parameter p.
template <typename T>
SN_HD T positive_value(T p, Positive kind) {
  if (kind == Positive::absolute) return (p < T(0) ? -p : p) + T(0.05);
  return p > T(20) ? p : T(log1p(exp(p)));
}
template <typename T>
SN_HD T positive_slope(T p, Positive kind) {
  if (kind == Positive::absolute) return p < T(0) ? T(-1) : T(1);
  return T(1) / (T(1) + T(exp(-p)));
}

#if defined(SN_ISA)
}  // namespace SN_ISA
#endif
}  // namespace math
}  // namespace sn

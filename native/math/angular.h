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

SN_HD float square_root(float x) { return sqrtf(x); }
SN_HD double square_root(double x) { return sqrt(x); }

// theta as the operators need it: a = asin(s) = pi/2 - theta, and sin(theta) = cos(a). Take the members one by one:
// GCC 12 does not vectorise a loop that hands the whole struct on.
template <typename T>
struct Angle {
  T a;
  T sine;
};

// |s| <= 1. (1-s)(1+s) keeps the digits that 1 - s*s loses. float32: the half-angle tangent t = s / (1 + sin theta)
// shares the root with sin(theta) and asks for no case distinction; then a = 2 atan(t), an odd minimax polynomial on
// [-1, 1]. Relative error of a below 3e-7 (test/native/math_test.cpp).
SN_HD Angle<float> angle_of(float s) {
  const float sine = sqrtf((1.0f - s) * (1.0f + s));
  const float t = s / (1.0f + sine);
  const float z = t * t;
  float p = 0.002920688995f;
  p = p * z - 0.01636791583f;
  p = p * z + 0.04321184228f;
  p = p * z - 0.07552212823f;
  p = p * z + 0.10666004f;
  p = p * z - 0.1421105516f;
  p = p * z + 0.1999377282f;
  p = p * z - 0.3333315274f;
  return {2.0f * (t + t * (z * p)), sine};
}
SN_HD Angle<double> angle_of(double s) { return {asin(s), sqrt((1.0 - s) * (1.0 + s))}; }

// tanh(v) as a fraction, so that what is divided further costs one division. float32: a minimax rational function of
// degree 13/6 on [-7.9, 7.9], beyond which tanh is 1 to the last place; relative error below 5e-7, exact at 0, never
// NaN for a number.
template <typename T>
struct Fraction {
  T numerator;
  T denominator;
};
SN_HD Fraction<float> hyperbolic_tangent(float v) {
  constexpr float limit = 7.90531110763549805f;
  const float below = limit < v ? limit : v;
  const float x = -limit > below ? -limit : below;
  const float z = x * x;
  float p = -2.76076847742355e-16f;
  p = p * z + 2.00018790482477e-13f;
  p = p * z - 8.60467152213735e-11f;
  p = p * z + 5.12229709037114e-08f;
  p = p * z + 1.48572235717979e-05f;
  p = p * z + 6.37261928875436e-04f;
  p = p * z + 4.89352455891786e-03f;
  float q = 1.19825839466702e-06f;
  q = q * z + 1.18534705686654e-04f;
  q = q * z + 2.26843463243900e-03f;
  q = q * z + 4.89352518554385e-03f;
  return {x * p, q};
}
SN_HD Fraction<double> hyperbolic_tangent(double v) { return {tanh(v), 1.0}; }

// Rounding can leave |s| a little above 1. A NaN stays one, to be reported where the loss is read.
template <typename T>
SN_HD T clamp_cosine(T s) {
  const T below = T(1) < s ? T(1) : s;
  return T(-1) > below ? T(-1) : below;
}

// ds/dtheta is unbounded at the poles although the operator's gradient is not (MATHS: backward).
constexpr double sine_floor = 1e-3;
template <typename T>
SN_HD T floored(T sine) {
  return sine > T(sine_floor) ? sine : T(sine_floor);
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

// The angular functions g, written in a = asin(s) = pi/2 - theta with s = cos(theta), so that no arccos is ever
// formed: near s = 0, where activations live, 1 - (2/pi) arccos(s) loses a quarter of float32's digits.
// Paper: eq. 2-4. Everything is inline, branch-free and stateless, for host vectorisers and for CUDA alike.
//
// A new g is a struct here and a place in AngularFunctions. It has
//   name                     as users write it
//   parameters               how many numbers a filter its constants take; make(k), load() and store() of them
//   value(a)                 g, |a| <= pi/2
//   gradient(a, sine)        dg/ds = dg/da / sine, where sine is that of the angle by which g is differentiated
//   curvature_gradient(a)    dg/dk, where it has parameters
// and derives from SavesCosine or SavesAngle, which say what SphereConv's forward saves of s for its backward.
#pragma once

#include <cmath>

#include "math/elementary.h"
#include "math/registry.h"

namespace sn {

// Which g: its place in math::AngularFunctions.
enum class Angular : int {};

namespace math {

// The constants of each filter's g in rows of `stride` numbers, one column a filter.
template <typename T>
struct FilterBlock {
  const T* values;
  int stride;
};

SN_BEGIN_ISA

// ds/dtheta is unbounded at the poles although the operator's gradient is not (docs/maths.md).
SN_BOUND sine_floor = 1e-3;
// The same where s comes from a product of rounded operands (TF32, bfloat16), whose error is that large.
SN_BOUND rounded_sine_floor = 1e-2;

// sin(theta): (1-s)(1+s) keeps the digits that 1 - s*s loses.
template <typename T>
SN_HD T sine_of_theta(T s) {
  return square_root((T(1) - s) * (T(1) + s));
}

// theta as the losses need it: a = asin(s), and sin(theta) = cos(a).
template <typename T>
struct Angle {
  T a;
  T sine;
};
template <typename T>
SN_HD Angle<T> angle_of(T s) {
  return {arcsine(s), sine_of_theta(s)};
}

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

template <bool rounded, typename T>
SN_HD T trusted_sine(T sine) {
  if constexpr (rounded) return at_least(sine, rounded_sine_floor);
  return sine;
}

template <typename T>
struct ValueAndSlope {
  T value;
  T slope;  // d value / d s
};

// A g without parameters.
template <typename G, typename T>
struct WithoutParameters {
  static constexpr int parameters = 0;
  static SN_HD_MEMBER G make(double) { return G(); }
  static SN_HD_MEMBER G load(const FilterBlock<T>&, int) { return G(); }
  SN_HD_MEMBER void store(T*, int) const {}
  SN_HD_MEMBER T curvature_gradient(T) const { return T(0); }
};

// Backward reads s, clamped. Members go by scalars: GCC 12 does not vectorise a loop that hands a struct on.
template <typename G, typename T>
struct SavesCosine {
  static SN_HD_MEMBER T saved(T s) { return clamp_cosine(s); }
  static SN_HD_MEMBER T cosine(T s) { return s; }
  SN_HD_MEMBER T saved_value(T s) const { return own().value(arcsine(s)); }
  template <bool rounded>
  SN_HD_MEMBER T saved_gradient(T s) const {
    return own().gradient(arcsine(s), trusted_sine<rounded>(sine_of_theta(s)));
  }
  SN_HD_MEMBER T saved_curvature_gradient(T s) const { return own().curvature_gradient(arcsine(s)); }
  SN_HD_MEMBER ValueAndSlope<T> of_cosine(T s) const {
    return {own().saved_value(s), own().template saved_gradient<false>(s)};
  }

 private:
  SN_HD_MEMBER const G& own() const { return static_cast<const G&>(*this); }
};

// Backward reads a = asin(s): cos(theta) = sin(a) and sin(theta) = cos(a) cost less than a second asin(s), and a has
// the digits near the poles that s lacks.
template <typename G, typename T>
struct SavesAngle {
  static SN_HD_MEMBER T saved(T s) { return arcsine(s); }
  static SN_HD_MEMBER T cosine(T a) { return sine_of(a); }
  SN_HD_MEMBER T saved_value(T a) const { return own().value(a); }
  template <bool rounded>
  SN_HD_MEMBER T saved_gradient(T a) const {
    return own().gradient(a, trusted_sine<rounded>(cosine_of(a)));
  }
  SN_HD_MEMBER T saved_curvature_gradient(T a) const { return own().curvature_gradient(a); }
  SN_HD_MEMBER ValueAndSlope<T> of_cosine(T s) const {
    const Angle<T> angle = angle_of(s);
    return {own().value(angle.a), own().gradient(angle.a, angle.sine)};
  }

 private:
  SN_HD_MEMBER const G& own() const { return static_cast<const G&>(*this); }
};

template <typename T>
struct Linear : WithoutParameters<Linear<T>, T>, SavesCosine<Linear<T>, T> {  // g = 1 - 2 theta / pi
  static constexpr const char* name = "linear";
  SN_HD_MEMBER T value(T a) const { return T(2 / pi) * a; }
  SN_HD_MEMBER T gradient(T, T sine) const { return T(2 / pi) / floored(sine); }
};

template <typename T>
struct Cosine : WithoutParameters<Cosine<T>, T>, SavesCosine<Cosine<T>, T> {  // g = cos theta
  static constexpr const char* name = "cosine";
  SN_HD_MEMBER T value(T a) const { return sine_of(a); }
  SN_HD_MEMBER T gradient(T a, T sine) const { return cosine_of(a) / floored(sine); }
  // g = s and dg/ds = 1 exactly, without an angle.
  SN_HD_MEMBER T saved_value(T s) const { return s; }
  template <bool>
  SN_HD_MEMBER T saved_gradient(T) const {
    return T(1);
  }
};

template <typename T>
struct Sigmoid : SavesAngle<Sigmoid<T>, T> {  // g = c tanh(a / 2k), c = 1 / tanh(pi / 4k): eq. 4, which could overflow
  static constexpr const char* name = "sigmoid";
  static constexpr int parameters = 3;
  // c and its k-gradient depend on k alone: computed once a filter, in float64.
  T half_inverse_k;
  T c;
  T dc_dk;

  static SN_HD_MEMBER Sigmoid make(double curvature) {
    // Far below what float32 tells from a step function; smaller ones would make 1/k infinite.
    const double k = curvature > 1e-12 ? curvature : 1e-12;
    const double quarter = pi / (4 * k);
    const double hyperbolic_sine = sinh(quarter < 300 ? quarter : 300.0);
    return of(T(1 / (2 * k)), T(1 / tanh(quarter)), T(pi / (4 * k * k) / (hyperbolic_sine * hyperbolic_sine)));
  }
  static SN_HD_MEMBER Sigmoid load(const FilterBlock<T>& block, int o) {
    return of(block.values[o], block.values[block.stride + o], block.values[2 * block.stride + o]);
  }
  SN_HD_MEMBER void store(T* column, int stride) const {
    column[0] = half_inverse_k;
    column[stride] = c;
    column[2 * stride] = dc_dk;
  }

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
    return (dc_dk * t.numerator -
            T(2) * c * half_inverse_k * v * inverse * ((t.denominator - t.numerator) * (t.denominator + t.numerator))) *
           inverse;
  }

 private:
  static SN_HD_MEMBER Sigmoid of(T half_inverse_k, T c, T dc_dk) {
    Sigmoid g;
    g.half_inverse_k = half_inverse_k;
    g.c = c;
    g.dc_dk = dc_dk;
    return g;
  }
};

template <typename T>
struct Square : WithoutParameters<Square<T>, T>, SavesCosine<Square<T>, T> {  // g = cos(theta) |cos(theta)|
  static constexpr const char* name = "square";
  SN_HD_MEMBER T value(T a) const { return saved_value(sine_of(a)); }
  SN_HD_MEMBER T gradient(T a, T sine) const { return T(2) * magnitude(sine_of(a)) * cosine_of(a) / floored(sine); }
  // Of s itself, without an angle.
  SN_HD_MEMBER T saved_value(T s) const { return s * magnitude(s); }
  template <bool>
  SN_HD_MEMBER T saved_gradient(T s) const {
    return T(2) * magnitude(s);
  }
};

// In the order of their codes. `angularOperators` in lib/ops has the same names.
template <typename T>
using AngularFunctions = TypeList<Linear<T>, Cosine<T>, Sigmoid<T>, Square<T>>;

// Calls function(Type<G>{}) for the g of that code.
template <typename T, typename Function>
static inline void by_angular(Angular angular, Function&& function) {
  by_index(AngularFunctions<T>(), static_cast<int>(angular), function);
}

// The g of every filter of a SphereConv, as the loops of both devices take it: of filter o and of what is saved of s.
template <typename G, typename T, bool rounded = false>
struct FilterAngular {
  FilterBlock<T> block;

  static SN_HD_MEMBER T saved(T s) { return G::saved(s); }
  static SN_HD_MEMBER T cosine(T saved) { return G::cosine(saved); }
  SN_HD_MEMBER T value(int o, T saved) const { return G::load(block, o).saved_value(saved); }
  SN_HD_MEMBER T gradient(int o, T saved) const { return G::load(block, o).template saved_gradient<rounded>(saved); }
  SN_HD_MEMBER T curvature_gradient(int o, T saved) const { return G::load(block, o).saved_curvature_gradient(saved); }
};

SN_END_ISA
}  // namespace math
}  // namespace sn

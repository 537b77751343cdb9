// The angular function of each filter of a SphereConv, over arrays with one entry a filter: the loops and kernels exist
// once and are instantiated for each. Everything goes by scalars, see math::angle_of.
//
// What forward keeps of s for backward is kept(s). The sigmoid keeps a = asin(s): cos(theta) = sin(a) and sin(theta) =
// cos(a) cost less than a second asin(s), and a has the digits near the poles that s lacks. The others keep s.
#pragma once

#include "math/angular.h"

namespace sn {

// What differs from filter to filter in the epilogue; one entry each.
template <typename T>
struct SphereFilters {
  const T* half_inverse_k;
  const T* c;
  const T* dc_dk;
  const T* bias;
};

namespace math {
#if defined(SN_ISA)
inline namespace SN_ISA {
#endif

template <bool rounded, typename T>
SN_HD T trusted_sine(T sine) {
  if constexpr (rounded) return at_least(sine, rounded_sine_floor);
  return sine;
}

template <typename T, bool rounded = false>
struct LinearFilters {
  SN_HD_MEMBER explicit LinearFilters(const SphereFilters<T>&) {}
  SN_HD_MEMBER T kept(T s) const { return clamp_cosine(s); }
  SN_HD_MEMBER T cosine(T s) const { return s; }
  SN_HD_MEMBER T value(int, T s) const { return Linear<T>().value(arcsine(s)); }
  SN_HD_MEMBER T gradient(int, T s) const {
    return Linear<T>().gradient(T(0), trusted_sine<rounded>(angle_of(s).sine));
  }
  SN_HD_MEMBER T curvature_gradient(int, T) const { return T(0); }
};

template <typename T, bool rounded = false>
struct CosineFilters {
  SN_HD_MEMBER explicit CosineFilters(const SphereFilters<T>&) {}
  SN_HD_MEMBER T kept(T s) const { return clamp_cosine(s); }
  SN_HD_MEMBER T cosine(T s) const { return s; }
  SN_HD_MEMBER T value(int, T s) const { return s; }
  SN_HD_MEMBER T gradient(int, T) const { return T(1); }
  SN_HD_MEMBER T curvature_gradient(int, T) const { return T(0); }
};

template <typename T, bool rounded = false>
struct SigmoidFilters {
  SN_HD_MEMBER explicit SigmoidFilters(const SphereFilters<T>& filters)
      : half_inverse_k(filters.half_inverse_k), c(filters.c), dc_dk(filters.dc_dk) {}
  SN_HD_MEMBER T kept(T s) const { return arcsine(s); }
  SN_HD_MEMBER T cosine(T a) const { return sine_of(a); }
  SN_HD_MEMBER T value(int o, T a) const { return of(o).value(a); }
  SN_HD_MEMBER T gradient(int o, T a) const { return of(o).gradient(a, trusted_sine<rounded>(sine_of_theta(a))); }
  SN_HD_MEMBER T curvature_gradient(int o, T a) const { return of(o).curvature_gradient(a); }
  SN_HD_MEMBER Sigmoid<T> of(int o) const { return {half_inverse_k[o], c[o], dc_dk[o]}; }
  const T* half_inverse_k;
  const T* c;
  const T* dc_dk;
};

#if defined(SN_ISA)
}  // namespace SN_ISA
#endif
}  // namespace math
}  // namespace sn

// What two filters cost for lying close to each other, by the cosine of the angle between them, with the slope by that
// cosine. docs/maths.md: regularisers.
#pragma once

#include "math/angular.h"

namespace sn {
namespace math {

// Added to squared distances, which are at most 4: energy and slope of equal filters stay finite.
constexpr double distance_guard = 1e-4;

// MHE: |u - v|^-power of unit vectors, for power 0 log(1 / |u - v|).
template <typename T>
SN_HD ValueAndSlope<T> pair_energy(T cosine, int power) {
  const T square = T(2) - T(2) * cosine + T(distance_guard), inverse = T(1) / square;
  if (power == 0) return {T(-0.5) * T(log(square)), inverse};
  if (power == 1) return {square_root(inverse), inverse * square_root(inverse)};
  return {inverse, T(2) * inverse * inverse};
}

// The same, and with half_space that of u and -v too.
template <typename T>
SN_HD ValueAndSlope<T> filter_energy(T cosine, int power, bool half_space) {
  const ValueAndSlope<T> near = pair_energy(cosine, power);
  if (!half_space) return near;
  const ValueAndSlope<T> opposite = pair_energy(-cosine, power);
  return {near.value + opposite.value, near.slope - opposite.slope};
}

// The mean energy over all pairs is `share` times the sum over ordered pairs of filters plus `constant`. In the half
// space each filter has its opposite: 2 N (2 N - 1) ordered pairs, of which those of a filter and its own opposite are
// constant.
struct EnergyMean {
  double share, constant;
};
SN_HD EnergyMean energy_mean(double filters, int power, bool half_space) {
  if (half_space) {
    const double share = 1 / (filters * (2 * filters - 1));
    return {share, share * filters * pair_energy(-1.0, power).value};
  }
  return {filters > 1 ? 1 / (filters * (filters - 1)) : 0, 0};
}

// MMA: the angle, with its slope by the cosine; the floor keeps the slope of equal and opposite filters finite.
template <typename T>
SN_HD ValueAndSlope<T> angle_between(T cosine) {
  const Angle<T> angle = angle_of(cosine);
  return {T(pi / 2) - angle.a, T(-1) / floored(angle.sine)};
}

}  // namespace math
}  // namespace sn

// What happens to the products of a convolution, as small device functions that any algorithm calls: from a kernel over
// products in memory, or on the accumulators of its own product kernel.
#pragma once

#include "core/dispatch.h"
#include "cuda/convolution/convolution.h"
#include "cuda/primitives.h"
#include "math/angular.h"

namespace sn::cuda {

// Forward: function(window, filter, products) takes `width` products of one window, from that filter on, all of one
// group. y is written, and s where there is one.

template <typename T>
struct PlainOutputs {
  T* y;
  const T* bias;  // may be null
  int filters;

  template <int width>
  __device__ void operator()(std::int64_t window, int filter, Pack<T, width> products) const {
    if (bias != nullptr) {
      for (int j = 0; j < width; ++j) products.values[j] += bias[filter + j];
    }
    store(y + window * filters + filter, products);
  }
};

template <typename G, typename T>
struct SphereOutputs {
  T* s;  // may be null
  T* y;
  const T* inv_patch_norm;
  const T* inv_filter_norm;
  const T* bias;  // may be null
  math::FilterAngular<G, T> g;
  int filters, groups, filters_a_group;

  template <int width>
  __device__ void operator()(std::int64_t window, int filter, Pack<T, width> products) const {
    const T inverse = inv_patch_norm[window * groups + filter / filters_a_group];
    const std::int64_t at = window * filters + filter;
    Pack<T, width> results;
    for (int j = 0; j < width; ++j) {
      const int o = filter + j;
      const T saved = g.saved(products.values[j] * inverse * inv_filter_norm[o]);
      products.values[j] = saved;
      results.values[j] = g.value(o, saved) + (bias != nullptr ? bias[o] : T(0));
    }
    if (s != nullptr) store(s + at, products);
    store(y + at, results);
  }
};

template <typename T>
math::FilterBlock<T> filter_block(const Tensor& parameters, int filters) {
  return {parameters.read<T>(), filters};
}

// Calls function(the device function of that epilogue).
template <typename T, typename Function>
void by_epilogue(const OutputEpilogue& epilogue, const ConvProblem& problem, Function&& function) {
  const auto filters = static_cast<int>(problem.y.back());
  T* y = epilogue.y.write<T>();
  const T* bias = epilogue.bias.read<T>();
  if (!epilogue.sphere) return function(PlainOutputs<T>{y, bias, filters});
  const SphereOutput& sphere = *epilogue.sphere;
  math::by_angular<T>(sphere.angular, [&](auto type) {
    using G = typename decltype(type)::type;
    function(SphereOutputs<G, T>{sphere.s.write<T>(),
                                 y,
                                 sphere.inv_patch_norm.read<T>(),
                                 sphere.inv_filter_norm.read<T>(),
                                 bias,
                                 {filter_block<T>(sphere.parameters, filters)},
                                 filters,
                                 problem.geometry.groups,
                                 filters / problem.geometry.groups});
  });
}

// Backward weights: the gradient of an element of filter o from its product.
template <typename T>
struct RadialFilterGradient {
  const T* inv_filter_norm;
  const T* sums;

  __device__ T operator()(std::int64_t o, T product, T element) const {
    const T inverse = inv_filter_norm[o];
    return product - element * inverse * inverse * sums[o];
  }
};

}  // namespace sn::cuda

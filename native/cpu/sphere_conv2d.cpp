// SphereConv: oneDNN's convolution with unit filters, and one pass of ours on each side of it. The batch goes
// through in chunks whose activations stay in the last-level cache, so that our passes find them there.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/backend.h"
#include "cpu/conv2d.h"
#include "cpu/dispatch.h"
#include "cpu/dnnl.h"

namespace sn::cpu {
namespace {

template <typename T>
void compute_unit_filters(const Tensor& w, const NormGuard& guard, const Tensor& unit, const Tensor& inverse_norms) {
  const std::int64_t filters = w.shape[0];
  const std::int64_t size = w.count() / filters;
  const T* source = w.read<T>();
  T* target = unit.write<T>();
  T* inverse = inverse_norms.write<T>();
  for (std::int64_t o = 0; o < filters; ++o) {
    double squared = 0;
    for (std::int64_t i = 0; i < size; ++i) squared += static_cast<double>(source[o * size + i]) * source[o * size + i];
    inverse[o] = static_cast<T>(math::guarded_inverse_norm(squared, guard.eps, guard.add));
    for (std::int64_t i = 0; i < size; ++i) target[o * size + i] = source[o * size + i] * inverse[o];
  }
}

// The per-filter constants of g: one k for all, or one each.
template <typename T>
struct FilterParameters {
  FilterParameters(const Tensor& k, const Tensor& bias, std::int64_t filters, const SphereOptions& options)
      : half_inverse_k(filters), c(filters), dc_dk(filters), zeros(bias ? 0 : filters, T(0)) {
    const T* curvature = k.read<T>();
    const bool shared = !k || k.count() == 1;
    for (std::size_t o = 0; o < static_cast<std::size_t>(filters); ++o) {
      if (shared && o > 0) {
        half_inverse_k[o] = half_inverse_k[0];
        c[o] = c[0];
        dc_dk[o] = dc_dk[0];
        continue;
      }
      const auto g = math::make_sigmoid<T>(curvature ? static_cast<double>(curvature[o]) : options.k);
      half_inverse_k[o] = g.half_inverse_k;
      c[o] = g.c;
      dc_dk[o] = g.dc_dk;
    }
    view = {half_inverse_k.data(), c.data(), dc_dk.data(), bias ? bias.read<T>() : zeros.data()};
  }

  std::vector<T> half_inverse_k, c, dc_dk, zeros;
  SphereFilters<T> view;
};

Box box_of(const Tensor& x, const Tensor& y, const ConvGeometry& geometry) {
  return {geometry,
          static_cast<int>(x.shape[1]),
          static_cast<int>(x.shape[2]),
          static_cast<int>(y.shape[1]),
          static_cast<int>(y.shape[2]),
          geometry.groups};
}

// Images that go through together: their input and output fill about half of a last-level cache share of two cores.
// All chunks are of one size, as far as it goes.
std::int64_t images_per_chunk(const Tensor& x, const Tensor& y) {
  constexpr std::int64_t chunk_bytes = std::int64_t{8} << 20;
  const std::int64_t images = x.shape[0];
  const auto bytes = static_cast<std::int64_t>(x.bytes() + 2 * y.bytes());
  const std::int64_t chunks = std::clamp<std::int64_t>((bytes + chunk_bytes - 1) / chunk_bytes, 1, images);
  return (images + chunks - 1) / chunks;
}

}  // namespace

// w/|w| and 1/|w|, made once for every change of w.
const FilterCache& CpuBackend::unit_filters(const Tensor& w, const NormGuard& guard) {
  FilterCache& cache = filter_cache(w);
  const bool fresh = cache.unit && cache.unit_revision == w.storage->revision() && cache.guard.eps == guard.eps &&
                     cache.guard.add == guard.add;
  if (fresh) return cache;
  if (!cache.unit) {
    cache.unit = scratch(w.dtype, w.shape);
    cache.inverse_norms = scratch(w.dtype, {w.shape[0]});
  }
  by_dtype(w.dtype, [&](auto tag) { compute_unit_filters<decltype(tag)>(w, guard, cache.unit, cache.inverse_norms); });
  cache.guard = guard;
  cache.unit_revision = w.storage->revision();
  return cache;
}

void CpuBackend::sphere_conv2d_forward(const Tensor& x, const Tensor& w, const Tensor& k, const Tensor& bias,
                                       const Tensor& y, const Tensor& cosine, const Tensor& inv_patch_norm,
                                       const Tensor& inv_filter_norm, const ConvGeometry& geometry,
                                       const SphereOptions& options) {
  const FilterCache& filter = unit_filters(w, options.guard);
  copy(filter.inverse_norms, inv_filter_norm);
  by_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    const SphereLoops<T>& loops = loops_.of<T>().sphere;
    const int filters = static_cast<int>(w.shape[0]);
    const int channels = static_cast<int>(x.shape[3]);
    const Box box = box_of(x, y, geometry);
    const std::int64_t pixels = x.shape[1] * x.shape[2];
    const std::int64_t positions = y.shape[1] * y.shape[2];
    const FilterParameters<T> parameters(k, bias, filters, options);
    const T* input = x.read<T>();
    T *s = cosine.write<T>(), *output = y.write<T>(), *norms = inv_patch_norm.write<T>();
    const std::int64_t chunk = x.dtype == DType::f64 ? x.shape[0] : images_per_chunk(x, y);
    const Tensor squares = scratch(x.dtype, {chunk, pixels, geometry.groups});
    for (std::int64_t first = 0; first < x.shape[0]; first += chunk) {
      const std::int64_t images = std::min(chunk, x.shape[0] - first);
      const T* chunk_input = input + first * pixels * channels;
      T* chunk_norms = norms + first * positions * geometry.groups;
      T* chunk_s = s + first * positions * filters;
      loops.pixel_squares(chunk_input, squares.write<T>(), images * pixels, channels, geometry.groups);
      loops.box_sum(squares.read<T>(), chunk_norms, images, box);
      loops.inverse_norms(chunk_norms, images * positions * geometry.groups, static_cast<T>(options.guard.eps),
                          options.guard.add);
      if constexpr (std::is_same_v<T, float>) {
        dnnl_->convolution(Convolution::key(images, x, w, y, geometry, false))
            .forward(chunk_input, filter.unit, nullptr, chunk_s);
      } else {
        reference_conv_forward(x, filter.unit, {}, cosine, geometry);
      }
      loops.forward(options.angular, chunk_s, output + first * positions * filters, chunk_norms, images * positions,
                    filters, geometry.groups, parameters.view);
    }
  });
}

void CpuBackend::sphere_conv2d_backward(const Tensor& x, const Tensor& w, const Tensor& k, const Tensor& cosine,
                                        const Tensor& inv_patch_norm, const Tensor& inv_filter_norm, const Tensor& dy,
                                        const Tensor& dx, const Tensor& dw, const Tensor& dk, const Tensor& dbias,
                                        const ConvGeometry& geometry, const SphereOptions& options) {
  const FilterCache& filter = unit_filters(w, options.guard);
  by_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    const SphereLoops<T>& loops = loops_.of<T>().sphere;
    const int filters = static_cast<int>(w.shape[0]);
    const int channels = static_cast<int>(x.shape[3]);
    const int groups = geometry.groups;
    const Box box = box_of(x, dy, geometry);
    const std::int64_t pixels = x.shape[1] * x.shape[2];
    const std::int64_t positions = dy.shape[1] * dy.shape[2];
    const FilterParameters<T> parameters(k, {}, filters, options);

    const auto room = static_cast<std::size_t>(filters) * 3;
    const auto threads = static_cast<std::size_t>(omp_get_max_threads());
    std::vector<double> totals(room, 0.0), per_thread(room * threads);
    std::vector<T> blocks(room * threads);
    const SphereSums<T> sums{totals.data(), dk ? totals.data() + filters : nullptr,
                             dbias ? totals.data() + 2 * filters : nullptr, blocks.data(), per_thread.data()};

    const std::int64_t chunk = x.dtype == DType::f64 ? x.shape[0] : images_per_chunk(x, dy);
    const Tensor v = scratch(x.dtype, dy.shape);
    const Tensor r = scratch(x.dtype, {chunk, positions, groups});
    const Tensor radial = scratch(x.dtype, {chunk, pixels, groups});
    for (std::int64_t first = 0; first < x.shape[0]; first += chunk) {
      const std::int64_t images = std::min(chunk, x.shape[0] - first);
      const std::int64_t output_offset = first * positions * filters;
      const std::int64_t input_offset = first * pixels * channels;
      T* chunk_v = v.write<T>() + output_offset;
      loops.backward(options.angular, dy.read<T>() + output_offset, cosine.read<T>() + output_offset,
                     inv_patch_norm.read<T>() + first * positions * groups, chunk_v, r.write<T>(), images * positions,
                     filters, groups, parameters.view, sums);
      if (!dx) continue;
      T* chunk_dx = dx.write<T>() + input_offset;
      if constexpr (std::is_same_v<T, float>) {
        dnnl_->convolution(Convolution::key(images, x, w, dy, geometry, false))
            .backward_data(chunk_v, filter.unit, chunk_dx);
      } else {
        reference_conv_backward_data(v, filter.unit, dx, geometry);
      }
      loops.box_sum_transposed(r.read<T>(), radial.write<T>(), images, box);
      loops.subtract_radial(chunk_dx, x.read<T>() + input_offset, radial.read<T>(), images * pixels, channels, groups);
    }

    if (dw) {
      conv2d_backward_weights(x, v, dw, {}, geometry);
      // dw = (dw' - unit filter * sum(u s)) / |w|
      const std::int64_t size = w.count() / filters;
      const T *inverse = inv_filter_norm.read<T>(), *unit = filter.unit.template read<T>();
      T* gradient = dw.write<T>();
      for (std::int64_t o = 0; o < filters; ++o) {
        const T sum = static_cast<T>(totals[static_cast<std::size_t>(o)]);
        for (std::int64_t i = o * size; i < (o + 1) * size; ++i) gradient[i] = (gradient[i] - unit[i] * sum) * inverse[o];
      }
    }
    if (dbias) {
      for (int o = 0; o < filters; ++o) dbias.write<T>()[o] = static_cast<T>(sums.dbias[o]);
    }
    if (dk) {
      T* gradient = dk.write<T>();
      if (dk.count() == 1) {
        double sum = 0;
        for (int o = 0; o < filters; ++o) sum += sums.dk[o];
        gradient[0] = static_cast<T>(sum);
      } else {
        for (int o = 0; o < filters; ++o) gradient[o] = static_cast<T>(sums.dk[o]);
      }
    }
  });
}

}  // namespace sn::cpu

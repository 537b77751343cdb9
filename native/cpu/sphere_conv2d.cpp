// SphereConv: a convolution with unit filters, and passes of our own before and after it. The batch goes through in
// chunks whose activations stay in the last-level cache, where our passes find them.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/dispatch.h"
#include "cpu/backend.h"
#include "cpu/batch_norm.h"
#include "cpu/channel_pack.h"
#include "cpu/conv2d.h"
#include "cpu/convolution.h"
#include "cpu/dark_patches.h"
#include "cpu/filter_cache.h"
#include "math/norms.h"

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
#pragma omp simd reduction(+ : squared)
    for (std::int64_t i = 0; i < size; ++i) squared += static_cast<double>(source[o * size + i]) * source[o * size + i];
    const double factor = math::guarded_inverse_norm(squared, guard.eps, guard.add);
    inverse[o] = static_cast<T>(factor);
    for (std::int64_t i = 0; i < size; ++i) target[o * size + i] = static_cast<T>(source[o * size + i] * factor);
  }
}

// The columns of the kernels' rows (SphereRows): of each, the constants of g and the bias. k has one number for all
// filters or one for each.
template <typename T>
class FilterColumns {
 public:
  FilterColumns(const OptionalTensor& k, const OptionalTensor& bias, int filters, int groups,
                const SphereOptions& options)
      : filters_(filters), groups_(groups), copies_(copies_of(filters, groups)),
        owners_(static_cast<std::size_t>(width())) {
    math::by_angular<T>(options.angular, [&](auto type) { fill<typename decltype(type)::type>(k, bias, options.k); });
    const int filters_of_group = filters / groups;
    for (int owner = 0, column = 0; column < width(); ++owner) {
      for (int o = 0; o < filters_of_group; ++o) owners_[static_cast<std::size_t>(column++)] = owner;
    }
  }

  int width() const { return filters_ * copies_; }
  SphereRows rows(std::int64_t positions) const { return {positions, filters_, groups_, copies_, owners_.data()}; }
  SphereFilters<T> view() const { return {{values_.data() + width(), width()}, values_.data()}; }

 private:
  template <typename G>
  void fill(const OptionalTensor& k, const OptionalTensor& bias, double common_k) {
    constexpr int rows = 1 + G::parameters;
    values_.resize(static_cast<std::size_t>(rows * width()));
    T *biases = values_.data(), *block = biases + width();
    if (bias) std::copy_n(bias.read<T>(), filters_, biases);
    const T* curvature = k.read<T>();
    const bool shared = !k || k.count() == 1;
    G g{};
    for (int o = 0; o < filters_; ++o) {
      if (!shared || o == 0) g = G::make(curvature ? static_cast<double>(curvature[o]) : common_k);
      g.store(block + o, width());
    }
    const ChannelPack pack{filters_, 1, width()};
    for (int row = 0; row < rows; ++row) spread_over(pack, biases + row * width());
  }

  // Positions side by side in a row: enough for whole vectors, and for a few of them, as long as the row stays in the
  // first-level cache.
  static int copies_of(int filters, int groups) {
    constexpr int vector = 16, least = 64, most = 2048;
    if (filters / groups % vector == 0) return 1;
    int copies = 1;
    while (filters * copies < least || filters * copies % vector != 0) copies *= 2;
    return filters * copies <= most ? copies : 1;
  }

  int filters_, groups_, copies_;
  std::vector<T> values_;  // a row of biases, then the block of g
  std::vector<int> owners_;
};

// Squares of numbers above 1e19 are too large for float32, but SphereConv does not depend on the length of an image:
// one with numbers above 1e15 then goes through it times 2^exponent, with numbers of about 1. The exponent is 0 for the
// other images, and where a number is not finite; there is none at all where it is 0 for each.
using Exponents = std::vector<int>;
Exponents exponents_to_unit(const Tensor& x) {
  constexpr float fine = 1e15F;
  const std::int64_t size = x.count() / x.shape[0];
  Exponents exponents;
  for (const float* image = x.read<float>(); image != x.read<float>() + x.count(); image += size) {
    float largest = 0;
    for (std::int64_t i = 0; i < size; ++i) largest = std::max(largest, std::abs(image[i]));
    exponents.push_back(largest > fine && std::isfinite(largest) ? -std::ilogb(largest) : 0);
  }
  const bool any = std::any_of(exponents.begin(), exponents.end(), [](int exponent) { return exponent != 0; });
  return any ? exponents : Exponents{};
}

// Of an image times 2^exponent. Patches below 1e-18 count as zero: their squares would be too small for float32.
NormGuard scaled(const NormGuard& guard, int exponent) {
  if (exponent == 0) return guard;
  if (guard.add) return {std::max(std::ldexp(guard.eps, 2 * exponent), 1e-36), true};
  return {std::max(std::ldexp(guard.eps, exponent), 1e-18), false};
}

// out = x 2^(sign exponent), image by image; out may be x. As a float, the factor itself could be 0.
void scale_by_power(const Tensor& x, const Exponents& exponents, int sign, const Tensor& out) {
  const std::int64_t size = x.count() / static_cast<std::int64_t>(exponents.size());
  const float* from = x.read<float>();
  float* to = out.write<float>();
  for (std::int64_t i = 0; i < x.count(); ++i) {
    to[i] = std::ldexp(from[i], sign * exponents[static_cast<std::size_t>(i / size)]);
  }
}

bool are_squares_too_large(const Tensor& inverse_norms) {
  constexpr float least = 5.5e-20F;  // of a norm whose square is a float32
  constexpr std::int64_t parallel_count = 8192;
  const float* values = inverse_norms.read<float>();
  const std::int64_t count = inverse_norms.count();
  int found = 0;
#pragma omp parallel for simd reduction(| : found) if (count > parallel_count)
  for (std::int64_t i = 0; i < count; ++i) found |= static_cast<int>(values[i] > 0 && values[i] < least);
  return found != 0;
}

// Of one call, forward or backward.
struct Extents {
  int filters, channels, groups;
  std::int64_t pixels, positions;  // of an image of x, and of y
  Box box;
};
Extents extents_of(const Tensor& x, const Tensor& w, const Tensor& y, const ConvGeometry& geometry) {
  const Box box{geometry,
                static_cast<int>(x.shape[1]),
                static_cast<int>(x.shape[2]),
                static_cast<int>(y.shape[1]),
                static_cast<int>(y.shape[2]),
                geometry.groups};
  return {static_cast<int>(w.shape[0]), static_cast<int>(x.shape[3]), geometry.groups,
          x.shape[1] * x.shape[2],      y.shape[1] * y.shape[2],      box};
}

}  // namespace

// w/|w| and 1/|w|, computed once for every change of w.
const FilterCache& CpuBackend::unit_filters(const Tensor& w, const NormGuard& guard) {
  auto& cache = w.derived<FilterCache>();
  if (cache.unit && cache.unit_revision == w.storage->revision() && cache.guard == guard) return cache;
  if (!cache.unit) {
    cache.unit = scratch(w.dtype, w.shape);
    cache.inverse_norms = scratch(w.dtype, {w.shape[0]});
  }
  by_dtype(w.dtype, [&](auto tag) { compute_unit_filters<decltype(tag)>(w, guard, cache.unit, cache.inverse_norms); });
  cache.guard = guard;
  cache.unit_revision = w.storage->revision();
  return cache;
}

void CpuBackend::sphere_conv2d_forward(const Tensor& x, const Tensor& w, const OptionalTensor& k,
                                       const OptionalTensor& bias, const Tensor& y,
                                       const std::optional<SphereSaved>& saved, const ConvGeometry& geometry,
                                       const SphereOptions& options, const Epilogue& epilogue) {
  const FilterCache& filter = unit_filters(w, options.guard);
  if (saved) copy(filter.inverse_norms, saved->inv_filter_norm);
  // Where the square of a patch's length is too large for float32, it stops and returns the exponents by which the
  // images have to be scaled; else none. What it wrote until then is written again. `of_input`: how the input is
  // scaled.
  const auto convolve = [&](const Tensor& input, const Exponents& of_input) {
    Exponents needed;
    by_dtype(x.dtype, [&](auto tag) {
      using T = decltype(tag);
      const SphereKernels<T>& sphere = kernels_.of<T>().sphere;
      const NormKernels<T>& norm = kernels_.of<T>().norms;
      const auto [filters, channels, groups, pixels, positions, box] = extents_of(x, w, y, geometry);
      const FilterColumns<T> columns(k, bias, filters, groups, options);
      const std::int64_t fitting = x.dtype == DType::f64 ? x.shape[0] : images_per_chunk(x, y);
      const std::int64_t chunk = of_input.empty() ? fitting : 1;  // scaled images have guards of their own
      const Tensor squares = scratch(x.dtype, {chunk, pixels, groups});
      // Without a backward, s and the norms are scratch of one chunk.
      const Tensor s = saved ? saved->s : scratch(x.dtype, {chunk, y.shape[1], y.shape[2], filters});
      const Tensor norms = saved ? saved->inv_patch_norm : scratch(x.dtype, {chunk, positions, groups});
      const bool in_tiles = is_convolved_in_tiles(ConvolutionShape::of(x.shape[0], x, w, y, geometry));
      ForwardEpilogue<T> following(kernels_.of<T>().batch_norm, y, epilogue);
      for (std::int64_t first = 0; first < x.shape[0]; first += chunk) {
        const std::int64_t images = std::min(chunk, x.shape[0] - first);
        const std::int64_t first_saved = saved ? first : 0;
        const T* chunk_input = input.read<T>() + first * pixels * channels;
        T* chunk_norms = norms.write<T>() + first_saved * positions * groups;
        T* chunk_s = s.write<T>() + first_saved * positions * filters;
        T* chunk_output = y.write<T>() + first * positions * filters;
        norm.pixel_squares(chunk_input, squares.write<T>(), images * pixels, channels, groups);
        norm.box_sum(squares.read<T>(), chunk_norms, images, box);
        const NormGuard guard =
            of_input.empty() ? options.guard : scaled(options.guard, of_input[static_cast<std::size_t>(first)]);
        const bool bounded =
            norm.inverse_norms(chunk_norms, images * positions * groups, static_cast<T>(guard.eps), guard.add);
        if (!bounded && x.dtype == DType::f32 && of_input.empty()) needed = exponents_to_unit(input);
        if (!needed.empty()) return;
        if constexpr (std::is_same_v<T, float>) {
          convolutions_->of(ConvolutionShape::of(images, x, w, y, geometry))
              ->forward(chunk_input, filter.unit, nullptr, chunk_s);
          if (in_tiles) {
            DarkPatches(*this, norm, chunk_norms, images, x, y, geometry).forward(chunk_input, filter.unit, chunk_s);
          }
        } else {
          reference_conv_forward(input, filter.unit, {}, s, geometry);
        }
        sphere.forward(options.angular, chunk_s, chunk_output, chunk_norms, columns.rows(images * positions),
                       columns.view());
        following.take(first * positions, images * positions);
      }
      following.finish();
    });
    return needed;
  };
  const Exponents exponents = convolve(x, {});
  if (exponents.empty()) return;
  const Tensor unit_x = scratch(x.dtype, x.shape);
  scale_by_power(x, exponents, 1, unit_x);
  convolve(unit_x, exponents);
  if (saved) scale_by_power(saved->inv_patch_norm, exponents, 1, saved->inv_patch_norm);
}

void CpuBackend::sphere_conv2d_backward(const Tensor& x, const Tensor& w, const OptionalTensor& k,
                                        const SphereSaved& saved, const Tensor& dy, const OptionalTensor& dx,
                                        const OptionalTensor& dw, const OptionalTensor& dk, const OptionalTensor& dbias,
                                        const ConvGeometry& geometry, const SphereOptions& options,
                                        const std::optional<EpilogueGradient>& epilogue) {
  const bool too_large = x.dtype == DType::f32 && are_squares_too_large(saved.inv_patch_norm);
  if (const Exponents exponents = too_large ? exponents_to_unit(x) : Exponents{}; !exponents.empty()) {
    const SphereSaved of_unit_x{saved.s, scratch(x.dtype, saved.inv_patch_norm.shape), saved.inv_filter_norm};
    const Tensor unit_x = scratch(x.dtype, x.shape);
    scale_by_power(x, exponents, 1, unit_x);
    scale_by_power(saved.inv_patch_norm, exponents, -1, of_unit_x.inv_patch_norm);
    sphere_conv2d_backward(unit_x, w, k, of_unit_x, dy, dx, dw, dk, dbias, geometry, options, epilogue);
    if (dx) scale_by_power(dx, exponents, 1, dx);
    return;
  }
  const FilterCache& filter = unit_filters(w, options.guard);
  by_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    const SphereKernels<T>& sphere = kernels_.of<T>().sphere;
    const NormKernels<T>& norm = kernels_.of<T>().norms;
    const auto [filters, channels, groups, pixels, positions, box] = extents_of(x, w, dy, geometry);
    const FilterColumns<T> columns(k, {}, filters, groups, options);
    const int threads = omp_get_max_threads();
    std::vector<double> totals(static_cast<std::size_t>(3 * (filters + threads * columns.width())));
    const Tensor blocks = scratch(x.dtype, {threads, 4 * columns.width() + block_gap});
    double* of_filters = totals.data();
    const SphereSums<T> sums{of_filters, dk ? of_filters + filters : nullptr,
                             dbias ? of_filters + 2 * filters : nullptr, blocks.write<T>(), of_filters + 3 * filters};

    const std::int64_t chunk = x.dtype == DType::f64 ? x.shape[0] : images_per_chunk(x, dy);
    const Shape chunk_shape{chunk, dy.shape[1], dy.shape[2], filters};
    const bool adds = chunk == x.shape[0] || adds_filter_gradients(w);
    const Tensor v = scratch(x.dtype, adds ? chunk_shape : dy.shape);
    const Tensor before_epilogue = epilogue ? scratch(x.dtype, chunk_shape) : Tensor{};
    const Tensor r = scratch(x.dtype, {chunk, positions, groups});
    const Tensor radial = dx ? scratch(x.dtype, {chunk, pixels, groups}) : Tensor{};
    const Tensor more_dw = dw && adds && chunk < x.shape[0] ? scratch(x.dtype, dw.shape) : Tensor{};
    const bool in_tiles = is_convolved_in_tiles(ConvolutionShape::of(x.shape[0], x, w, dy, geometry));
    Tensor dark_dw;  // of the dark patches
    std::optional<BackwardEpilogue<T>> following;
    if (epilogue) following.emplace(kernels_.of<T>().batch_norm, *epilogue, dy);
    for (std::int64_t first = 0; first < x.shape[0]; first += chunk) {
      const std::int64_t images = std::min(chunk, x.shape[0] - first);
      const std::int64_t output_offset = first * positions * filters;
      const T* chunk_input = x.read<T>() + first * pixels * channels;
      const T* chunk_dy = dy.read<T>() + output_offset;
      T* chunk_v = v.write<T>() + (adds ? 0 : output_offset);
      if (following) {
        following->apply(first * positions, images * positions, before_epilogue.write<T>());
        chunk_dy = before_epilogue.read<T>();
      }
      const T* chunk_norms = saved.inv_patch_norm.read<T>() + first * positions * groups;
      sphere.backward(options.angular, chunk_dy, saved.s.read<T>() + output_offset, chunk_norms, chunk_v, r.write<T>(),
                      columns.rows(images * positions), columns.view(), sums);
      std::optional<DarkPatches> dark;
      if constexpr (std::is_same_v<T, float>) {
        if (in_tiles) {
          dark.emplace(*this, norm, chunk_norms, images, x, dy, geometry);
          dark->take(chunk_v);
          if (dw) dark->add_to_dw(chunk_input, dark_dw);
        }
      }
      if (dx) {
        T* chunk_dx = dx.write<T>() + first * pixels * channels;
        if constexpr (std::is_same_v<T, float>) {
          convolutions_->of(ConvolutionShape::of(images, x, w, dy, geometry))
              ->backward_data(chunk_v, filter.unit, chunk_dx);
          if (dark) dark->add_to_dx(filter.unit, chunk_dx);
        } else {
          reference_conv_backward_data(v, filter.unit, dx, geometry);
        }
        norm.box_sum_transposed(r.read<T>(), radial.write<T>(), images, box);
        norm.subtract_radial(chunk_dx, chunk_input, radial.read<T>(), images * pixels, channels, groups);
      }
      if (!dw || !adds) continue;
      const Tensor& chunk_dw = first == 0 ? dw : more_dw;
      if constexpr (std::is_same_v<T, float>) {
        convolutions_->of(ConvolutionShape::of(images, x, w, dy, geometry))
            ->backward_weights(chunk_input, chunk_v, chunk_dw.write<T>());
      } else {
        reference_conv_backward_weights(x, v, chunk_dw, {}, geometry);
      }
      if (first > 0) add(dw, more_dw, dw);
    }

    if (dw && !adds) conv2d_backward_weights(x, v, dw, {}, geometry);
    if (dark_dw) add(dw, dark_dw, dw);
    if (dw) {
      // dw = (dw' - unit filter * sum(u s)) / |w|
      const std::int64_t size = w.count() / filters;
      const T *inverse = saved.inv_filter_norm.read<T>(), *unit = filter.unit.template read<T>();
      T* gradient = dw.write<T>();
      for (std::int64_t o = 0; o < filters; ++o) {
        const T sum = static_cast<T>(totals[static_cast<std::size_t>(o)]);
        for (std::int64_t i = o * size; i < (o + 1) * size; ++i)
          gradient[i] = (gradient[i] - unit[i] * sum) * inverse[o];
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

// SphereConv: the products of a convolution, and one pass of ours on each side of them. With T = the size of the
// output: forward reads dot (still in L2) and writes kept and y; backward reads dy and kept and writes
// v = u / (|p||w|), one number a window and partial sums of 3 numbers a filter. Patches come with their norms, and
// their transpose with the radial part of dx.
#include <type_traits>

#include "core/dispatch.h"
#include "cuda/backend.h"
#include "cuda/elements.h"
#include "cuda/filters.h"
#include "cuda/products.h"
#include "math/filters.h"

namespace sn::cuda {

struct SphereForward {
  const Tensor &x, &w, &k, &bias, &y, &kept, &inv_patch_norm, &inv_filter_norm;
};
struct SphereBackward {
  const Tensor &x, &w, &k, &kept, &inv_patch_norm, &inv_filter_norm, &dy, &dx, &dw, &dk, &dbias;
};

namespace {

// The outputs of one convolution: rows of `filters`, `width` of them in each group.
struct OutputShape {
  std::int64_t windows;
  int filters, groups, width;
};

// half_inverse_k, c and dc_dk of each filter, from one k for all or one each.
template <typename T>
struct SigmoidParameters {
  const T* k;
  double fixed_k;
  bool shared;
  std::int64_t filters;
  T* out;
  __device__ void operator()(std::int64_t o) const {
    const auto g = math::make_sigmoid<T>(k != nullptr ? static_cast<double>(k[shared ? 0 : o]) : fixed_k);
    out[o] = g.half_inverse_k;
    out[filters + o] = g.c;
    out[2 * filters + o] = g.dc_dk;
  }
};

// What backward needs of s = dot / (|p||w|), in place of dot, and y = g(s) + bias. 3 T with dot, 2 T from memory.
template <typename T, typename Filters, int pack>
struct SphereEpilogue {
  T* kept;
  T* y;
  const T* inv_patch_norm;
  const T* inv_filter_norm;
  const T* bias;
  Filters g;
  OutputShape shape;

  __device__ void operator()(std::int64_t i) const {
    const int packs = shape.filters / pack;
    const std::int64_t window = i / packs;
    const int first = static_cast<int>(i - window * packs) * pack;
    const T inverse = inv_patch_norm[window * shape.groups + first / shape.width];
    const std::int64_t at = window * shape.filters + first;
    auto values = *reinterpret_cast<const Pack<T, pack>*>(kept + at);
    Pack<T, pack> results;
    for (int j = 0; j < pack; ++j) {
      const int o = first + j;
      const T a = g.kept(values.values[j] * inverse * inv_filter_norm[o]);
      values.values[j] = a;
      results.values[j] = g.value(o, a) + (bias != nullptr ? bias[o] : T(0));
    }
    *reinterpret_cast<Pack<T, pack>*>(kept + at) = values;
    *reinterpret_cast<Pack<T, pack>*>(y + at) = results;
  }
};

// What the backward pass takes and leaves.
template <typename Operand>
struct BackwardArrays {
  using T = typename Operand::Value;
  const T* dy;
  const T* kept;
  const T* inv_patch_norm;
  const T* inv_filter_norm;
  typename Operand::Element* v;  // u / (|p||w|)
  T* r;                          // [window][group]: sum over filters of u s / |p|^2
  T* partial;                    // [block][3][filter]: sums of u s, dy dg/dk and dy over the block's windows
};

constexpr int backward_warps = 8;
constexpr int windows_per_warp = 16;
constexpr int windows_per_block = backward_warps * windows_per_warp;

// A block takes 128 windows of one group, warp by warp, and the filters 32 lanes at a time: sums over filters meet
// within the warp, sums over windows within the block. Reads dy and kept, writes v: 3 T, the floor.
// The 1: left to itself, the compiler spills a register or two to fit one more block.
template <typename Operand, typename Filters, bool with_dk, int pack>
__global__ void __launch_bounds__(backward_warps * warp_size, 1)
    backward_kernel(const BackwardArrays<Operand> arrays, const Filters g, const OutputShape shape) {
  using T = typename Operand::Value;
  SN_SHARED(T, sums, 3 * backward_warps * warp_size * pack);
  const int lane = lane_id(), group = static_cast<int>(blockIdx.y);
  const std::int64_t first_window = static_cast<std::int64_t>(blockIdx.x) * windows_per_block + warp_id() * windows_per_warp;
  const int end = (group + 1) * shape.width;
  T window_total = 0;  // of the window that this lane keeps

  for (int chunk = group * shape.width; chunk < end; chunk += warp_size * pack) {
    const int first = chunk + lane * pack;
    const bool active = first < end;
    T radial[pack] = {}, dk[pack] = {}, dbias[pack] = {};
    SN_UNROLL(sizeof(T) == sizeof(float) ? 2 : 1)
    for (int row = 0; row < windows_per_warp; ++row) {
      const std::int64_t window = first_window + row;
      T product_sum = 0;
      if (active && window < shape.windows) {
        const std::int64_t at = window * shape.filters + first;
        const T inverse = arrays.inv_patch_norm[window * shape.groups + group];
        const auto gradients = *reinterpret_cast<const Pack<T, pack>*>(arrays.dy + at);
        const auto kept = *reinterpret_cast<const Pack<T, pack>*>(arrays.kept + at);
        Pack<typename Operand::Element, pack> v;
        for (int j = 0; j < pack; ++j) {
          const int o = first + j;
          const T a = kept.values[j], gradient = gradients.values[j];
          const T u = gradient * g.gradient(o, a);
          const T product = u * g.cosine(a);
          v.values[j] = Operand::element(u * inverse * arrays.inv_filter_norm[o]);
          product_sum += product;
          radial[j] += product;
          if (with_dk) dk[j] += gradient * g.curvature_gradient(o, a);
          dbias[j] += gradient;
        }
        *reinterpret_cast<Pack<typename Operand::Element, pack>*>(arrays.v + at) = v;
      }
      product_sum = warp_sum(product_sum);
      if (lane == row) window_total += product_sum;
    }

    constexpr int columns = warp_size * pack;
    const int own = warp_id() * columns + lane * pack;
    for (int j = 0; j < pack; ++j) {
      sums[own + j] = radial[j];
      sums[backward_warps * columns + own + j] = dk[j];
      sums[2 * backward_warps * columns + own + j] = dbias[j];
    }
    sync_threads();
    for (int i = static_cast<int>(threadIdx.x); i < 3 * columns; i += backward_warps * warp_size) {
      const int kind = i / columns, column = i % columns;
      if (chunk + column >= end) continue;
      T total = 0;
      for (int other = 0; other < backward_warps; ++other) total += sums[(kind * backward_warps + other) * columns + column];
      arrays.partial[(static_cast<std::int64_t>(blockIdx.x) * 3 + kind) * shape.filters + chunk + column] = total;
    }
    sync_threads();
  }

  const std::int64_t window = first_window + lane;
  if (lane >= windows_per_warp || window >= shape.windows) return;
  const T inverse = arrays.inv_patch_norm[window * shape.groups + group];
  arrays.r[window * shape.groups + group] = window_total * inverse * inverse;
}

// Adds the blocks' sums up in float64 and in their order. Reads what the blocks left, 1/43 of the output.
template <typename T>
__global__ void __launch_bounds__(backward_warps * warp_size)
    add_partials_kernel(const T* partial, const std::int64_t blocks, const int filters, T* radial, T* dk, T* dbias) {
  SN_SHARED(double, sums, backward_warps * warp_size);
  const int column = static_cast<int>(blockIdx.x) * warp_size + lane_id();
  const int columns = 3 * filters;
  double sum = 0;
  if (column < columns) {
    for (std::int64_t block = warp_id(); block < blocks; block += backward_warps) {
      sum += static_cast<double>(partial[block * columns + column]);
    }
  }
  sums[threadIdx.x] = sum;
  sync_threads();
  if (warp_id() != 0 || column >= columns) return;
  double total = 0;
  for (int other = 0; other < backward_warps; ++other) total += sums[other * warp_size + lane_id()];
  const int kind = column / filters, filter = column % filters;
  if (kind == 0) radial[filter] = static_cast<T>(total);
  if (kind == 1 && dk != nullptr) dk[filter] = static_cast<T>(total);
  if (kind == 2 && dbias != nullptr) dbias[filter] = static_cast<T>(total);
}

// dw = products - w / |w|^2 * sum(u s). Reads products and filters, writes dw: 3 passes over the filters, the floor.
template <typename Operand>
struct FinishFilterGradients {
  using T = typename Operand::Value;
  const T* products;
  const typename Operand::Element* filters;
  const T* inv_filter_norm;
  const T* radial;
  T* dw;
  int size, padded;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t o = i / size, at = o * padded + i % size;
    const T inverse = inv_filter_norm[o];
    dw[i] = products[at] - Operand::value(filters[at]) * inverse * inverse * radial[o];
  }
};

// Calls function(filters of the angular function).
template <typename T, bool rounded, typename Function>
void by_angular(Angular angular, const SphereFilters<T>& parameters, Function&& function) {
  switch (angular) {
    case Angular::linear: return function(math::LinearFilters<T, rounded>(parameters));
    case Angular::cosine: return function(math::CosineFilters<T, rounded>(parameters));
    case Angular::sigmoid: return function(math::SigmoidFilters<T, rounded>(parameters));
  }
}

// The parameters of each filter's g as rows of `values`; without a sigmoid there are none.
template <typename T>
SphereFilters<T> sphere_filters(cudaStream_t stream, const Tensor& k, const SphereOptions& options, const Tensor& values) {
  if (!values) return {};
  const std::int64_t filters = values.shape[1];
  T* rows = values.write<T>();
  const bool shared = k && k.count() == 1;
  for_each_element("sphereConv2d", stream, filters, SigmoidParameters<T>{k.read<T>(), options.k, shared, filters, rows});
  return {rows, rows + filters, rows + 2 * filters, nullptr};
}

OutputShape output_shape(const Tensor& y, int groups) {
  const auto filters = static_cast<int>(y.shape[3]);
  return {y.count() / filters, filters, groups, filters / groups};
}

template <typename T>
void run_epilogue(cudaStream_t stream, const SphereForward& tensors, const SphereFilters<T>& parameters,
                  Angular angular, const WindowRange& range, const OutputShape& all) {
  const std::int64_t outputs = range.first * all.filters;
  T* kept = tensors.kept.write<T>() + outputs;
  T* y = tensors.y.write<T>() + outputs;
  const T* norms = tensors.inv_patch_norm.read<T>() + range.first * all.groups;
  const T *filter_norms = tensors.inv_filter_norm.read<T>(), *bias = tensors.bias.read<T>();
  by_angular<T, false>(angular, parameters, [&](auto g) {
    using Filters = decltype(g);
    if (all.width % pack_size<T> == 0) {
      constexpr int pack = pack_size<T>;
      for_each_element("sphereConv2d", stream, range.count * all.filters / pack,
                       SphereEpilogue<T, Filters, pack>{kept, y, norms, filter_norms, bias, g, all});
    } else {
      for_each_element("sphereConv2d", stream, range.count * all.filters,
                       SphereEpilogue<T, Filters, 1>{kept, y, norms, filter_norms, bias, g, all});
    }
  });
}

template <typename Operand, bool with_dk, typename Filters>
void launch_backward(cudaStream_t stream, const BackwardArrays<Operand>& arrays, const Filters& g,
                     const OutputShape& shape) {
  const dim3 grid(static_cast<unsigned>(ceil_div<std::int64_t>(shape.windows, windows_per_block)),
                  static_cast<unsigned>(shape.groups));
  const Launch how{"sphereConv2dBackward", stream, grid, dim3(backward_warps * warp_size)};
  // Two filters a lane: 64 filters fill a warp.
  const auto kernel = shape.width % 2 == 0 ? backward_kernel<Operand, Filters, with_dk, 2>
                                           : backward_kernel<Operand, Filters, with_dk, 1>;
  launch(how, kernel, arrays, g, shape);
}

template <typename Operand>
void run_backward(cudaStream_t stream, const BackwardArrays<Operand>& arrays,
                  const SphereFilters<typename Operand::Value>& parameters, Angular angular, bool with_dk,
                  const OutputShape& shape) {
  using T = typename Operand::Value;
  if (with_dk && angular == Angular::sigmoid) {
    return launch_backward<Operand, true>(stream, arrays, math::SigmoidFilters<T, Operand::rounded>(parameters), shape);
  }
  by_angular<T, Operand::rounded>(angular, parameters,
                                  [&](auto g) { launch_backward<Operand, false>(stream, arrays, g, shape); });
}

}  // namespace

template <typename Operand>
void CudaBackend::sphere_forward_as(const SphereForward& tensors, const ConvGeometry& geometry,
                                    const SphereOptions& options) {
  using T = typename Operand::Value;
  using Element = typename Operand::Element;
  const Tensor &x = tensors.x, &y = tensors.y;
  const PatchShape shape = patch_shape(x, y, geometry, sizeof(Element));
  const OutputShape outputs = output_shape(y, geometry.groups);
  const FilterPack& pack = packed_filters<Operand>(tensors.w, shape.padded, options.guard);
  copy(pack.inverse_norms, tensors.inv_filter_norm);
  const bool is_sigmoid = options.angular == Angular::sigmoid;
  const Tensor values = is_sigmoid ? scratch(x.dtype, {3, outputs.filters}) : Tensor{};
  const SphereFilters<T> parameters = sphere_filters<T>(stream_, tensors.k, options, values);

  const ConvProducts<Element, T> products(*gemm_, "sphereConv2d", shape, outputs.filters, Operand::precision);
  // Rounded operands are made as patches even where a patch is a pixel.
  const bool pixelwise = is_pixelwise(geometry) && !Operand::rounded;
  const std::int64_t row = std::int64_t{shape.groups} * shape.padded;
  const std::int64_t row_bytes = pixelwise ? outputs.filters * std::int64_t{sizeof(T)} : row * std::int64_t{sizeof(Element)};
  const std::int64_t rows = tile_size().rows(shape.windows(), static_cast<std::size_t>(row_bytes));
  const auto workspace = pixelwise ? nullptr : allocate(static_cast<std::size_t>(rows * row_bytes));
  auto* patches = workspace ? static_cast<Element*>(workspace->data()) : nullptr;
  for_each_tile(shape.windows(), rows, [&](const WindowRange& range) {
    build_patches<Operand>("sphereConv2d", stream_, x.read<T>(), shape, range, patches,
                           tensors.inv_patch_norm.write<T>(), options.guard);
    if constexpr (std::is_same_v<T, Element>) {
      const auto operand = pixelwise ? products.pixels(x.read<T>(), range) : products.patches(patches, range);
      products.forward(range, operand, pack.data<Operand>(), tensors.kept.write<T>());
    } else {
      products.forward(range, products.patches(patches, range), pack.data<Operand>(), tensors.kept.write<T>());
    }
    run_epilogue<T>(stream_, tensors, parameters, options.angular, range, outputs);
  });
}

template <typename Operand>
void CudaBackend::sphere_backward_as(const SphereBackward& tensors, const ConvGeometry& geometry,
                                     const SphereOptions& options) {
  using T = typename Operand::Value;
  using Element = typename Operand::Element;
  const Tensor &x = tensors.x, &w = tensors.w, &dy = tensors.dy;
  const char* op = "sphereConv2dBackward";
  const PatchShape shape = patch_shape(x, dy, geometry, sizeof(Element));
  const OutputShape outputs = output_shape(dy, geometry.groups);
  const std::int64_t filters = outputs.filters;
  const FilterPack& pack = packed_filters<Operand>(w, shape.padded, options.guard);
  const bool is_sigmoid = options.angular == Angular::sigmoid;
  const Tensor values = is_sigmoid ? scratch(x.dtype, {3, filters}) : Tensor{};
  const SphereFilters<T> parameters = sphere_filters<T>(stream_, tensors.k, options, values);

  const auto v_workspace = allocate(static_cast<std::size_t>(dy.count()) * sizeof(Element));
  auto* v = static_cast<Element*>(v_workspace->data());
  const Tensor r = scratch(x.dtype, {outputs.windows, outputs.groups});
  const std::int64_t blocks = ceil_div<std::int64_t>(outputs.windows, windows_per_block);
  const Tensor partial = scratch(x.dtype, {blocks, 3, filters});
  const BackwardArrays<Operand> arrays{dy.read<T>(), tensors.kept.read<T>(), tensors.inv_patch_norm.read<T>(),
                                       tensors.inv_filter_norm.read<T>(), v, r.write<T>(), partial.write<T>()};
  run_backward<Operand>(stream_, arrays, parameters, options.angular, static_cast<bool>(tensors.dk), outputs);

  const bool shares_k = tensors.dk && tensors.dk.count() < filters;
  const Tensor radial = scratch(x.dtype, {filters});
  const Tensor dk = shares_k ? scratch(x.dtype, {filters}) : tensors.dk;
  launch({op, stream_, dim3(static_cast<unsigned>(ceil_div<std::int64_t>(3 * filters, warp_size))),
          dim3(backward_warps * warp_size)},
         add_partials_kernel<T>, partial.read<T>(), blocks, outputs.filters, radial.write<T>(), dk.write<T>(),
         tensors.dbias.write<T>());
  if (shares_k) sum(dk, tensors.dk);

  const ConvProducts<Element, T> products(*gemm_, op, shape, filters, Operand::precision);
  const std::int64_t row = std::int64_t{shape.groups} * shape.padded;
  if (tensors.dx) {
    const std::int64_t rows = tile_size().rows(shape.windows(), static_cast<std::size_t>(row) * sizeof(T));
    for_each_input_tile(shape, rows, [&](const InputTile& tile) {
      const WindowRange range = tile.windows(shape);
      const Tensor gradients = scratch(x.dtype, {std::max<std::int64_t>(range.count, 1), row});
      if (range.count > 0) products.patch_gradients(range, v, pack.data<Operand>(), gradients.write<T>());
      gather_patches<T>(op, stream_, gradients.read<T>(), shape, tile, r.read<T>(), x.read<T>(), tensors.dx.write<T>());
    });
  }
  if (!tensors.dw) return;
  const Tensor sums = scratch(x.dtype, {filters, shape.padded});
  const std::int64_t rows = tile_size().rows(shape.windows(), static_cast<std::size_t>(row) * sizeof(Element));
  const auto workspace = allocate(static_cast<std::size_t>(rows * row) * sizeof(Element));
  auto* patches = static_cast<Element*>(workspace->data());
  for_each_tile(shape.windows(), rows, [&](const WindowRange& range) {
    build_patches<Operand>(op, stream_, x.read<T>(), shape, range, patches, nullptr, options.guard);
    products.filter_gradients(range, v, products.patches(patches, range), sums.write<T>(), range.first > 0);
  });
  for_each_element(op, stream_, tensors.dw.count(),
                   FinishFilterGradients<Operand>{sums.read<T>(), pack.data<Operand>(), tensors.inv_filter_norm.read<T>(),
                                                  radial.read<T>(), tensors.dw.write<T>(), shape.size, shape.padded});
}

void CudaBackend::sphere_conv2d_forward(const Tensor& x, const Tensor& w, const Tensor& k, const Tensor& bias,
                                        const Tensor& y, const SphereSaved& saved, const ConvGeometry& geometry,
                                        const SphereOptions& options, const BatchStatistics& of_y,
                                        const Normalization& normalization) {
  const SphereSaved workspace = saved ? saved
                                 : SphereSaved{scratch(y.dtype, y.shape),
                                               scratch(y.dtype, {y.count() / y.shape[3], geometry.groups}),
                                               scratch(y.dtype, {y.shape[3]})};
  const SphereForward tensors{x, w, k, bias, y, workspace.kept, workspace.inv_patch_norm, workspace.inv_filter_norm};
  by_operand(x.dtype, precision_, [&](auto operand) { sphere_forward_as<decltype(operand)>(tensors, geometry, options); });
  if (of_y) batch_statistics(y, of_y);
  if (normalization) normalize(y, normalization, y);
}

void CudaBackend::sphere_conv2d_backward(const Tensor& x, const Tensor& w, const Tensor& k, const SphereSaved& saved,
                                         const Tensor& dy, const NormalizedGradient& normalized, const Tensor& dx,
                                         const Tensor& dw, const Tensor& dk, const Tensor& dbias,
                                         const ConvGeometry& geometry, const SphereOptions& options) {
  const Tensor before = normalized ? scratch(dy.dtype, dy.shape) : dy;
  if (normalized) normalized_gradient(normalized, dy, before);
  const SphereBackward tensors{x, w, k, saved.kept, saved.inv_patch_norm, saved.inv_filter_norm, before, dx, dw, dk, dbias};
  by_operand(x.dtype, precision_, [&](auto operand) { sphere_backward_as<decltype(operand)>(tensors, geometry, options); });
}

}  // namespace sn::cuda

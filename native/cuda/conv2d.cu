// Plain convolution: patches of a tile, then a product. cuBLAS rounds the operands as the precision asks.
#include "core/dispatch.h"
#include "cuda/backend.h"
#include "cuda/elements.h"
#include "cuda/filters.h"
#include "cuda/products.h"

namespace sn::cuda {
namespace {

// Reads y once, writes it once: 2 T beyond the product.
template <typename T>
struct AddBias {
  T* y;
  const T* bias;
  std::int64_t filters;
  __device__ void operator()(std::int64_t i) const { y[i] += bias[i % filters]; }
};

// Drops the padding of each row: reads and writes the filters once.
template <typename T>
struct Unpad {
  const T* padded_rows;
  T* rows;
  int size, padded;
  __device__ void operator()(std::int64_t i) const { rows[i] = padded_rows[i / size * padded + i % size]; }
};

// A plain convolution takes no norms: any guard will do.
constexpr NormGuard no_guard{1e-6, false};

}  // namespace

TileSize CudaBackend::tile_size() const { return TileSize(l2_bytes_, multiprocessors_); }

template <typename T>
void CudaBackend::conv2d_forward_as(const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& y,
                                    const ConvGeometry& geometry) {
  const PatchShape shape = patch_shape(x, y, geometry, sizeof(T));
  const ConvProducts<T, T> products(*gemm_, "conv2d", shape, w.shape[0], precision_);
  const T* filters = packed_filters<ExactOperand<T>>(w, shape.padded, no_guard).template data<ExactOperand<T>>();
  const T* image = x.read<T>();
  T* output = y.write<T>();
  if (is_pixelwise(geometry)) {
    const WindowRange all{0, shape.windows()};
    products.forward(all, products.pixels(image, all), filters, output);
  } else {
    const std::int64_t row = std::int64_t{shape.groups} * shape.padded;
    const std::int64_t rows = tile_size().rows(shape.windows(), static_cast<std::size_t>(row) * sizeof(T));
    const Tensor patches = scratch(x.dtype, {rows, row});
    for_each_tile(shape.windows(), rows, [&](const WindowRange& range) {
      build_patches<ExactOperand<T>>("conv2d", stream_, image, shape, range, patches.write<T>(), nullptr, no_guard);
      products.forward(range, products.patches(patches.read<T>(), range), filters, output);
    });
  }
  if (bias) for_each_element("conv2d", stream_, y.count(), AddBias<T>{output, bias.read<T>(), w.shape[0]});
}

template <typename T>
void CudaBackend::conv2d_backward_data_as(const Tensor& dy, const Tensor& w, const Tensor& dx,
                                          const ConvGeometry& geometry) {
  const PatchShape shape = patch_shape(dx, dy, geometry, sizeof(T));
  const ConvProducts<T, T> products(*gemm_, "conv2dBackwardData", shape, w.shape[0], precision_);
  const T* filters = packed_filters<ExactOperand<T>>(w, shape.padded, no_guard).template data<ExactOperand<T>>();
  const std::int64_t row = std::int64_t{shape.groups} * shape.padded;
  const std::int64_t rows = tile_size().rows(shape.windows(), static_cast<std::size_t>(row) * sizeof(T));
  T* input_gradient = dx.write<T>();
  for_each_input_tile(shape, rows, [&](const InputTile& tile) {
    const WindowRange range = tile.windows(shape);
    const Tensor gradients = scratch(dx.dtype, {std::max<std::int64_t>(range.count, 1), row});
    if (range.count > 0) products.patch_gradients(range, dy.read<T>(), filters, gradients.write<T>());
    gather_patches<T>("conv2dBackwardData", stream_, gradients.read<T>(), shape, tile, nullptr, nullptr, input_gradient);
  });
}

template <typename T>
void CudaBackend::conv2d_backward_weights_as(const Tensor& x, const Tensor& dy, const Tensor& dw,
                                             const ConvGeometry& geometry) {
  const PatchShape shape = patch_shape(x, dy, geometry, sizeof(T));
  const std::int64_t filters = dw.shape[0];
  const ConvProducts<T, T> products(*gemm_, "conv2dBackwardWeights", shape, filters, precision_);
  const bool whole_rows = shape.padded == shape.size;
  const Tensor padded = whole_rows ? dw : scratch(dw.dtype, {filters, shape.padded});
  const T* image = x.read<T>();
  if (is_pixelwise(geometry)) {
    const WindowRange all{0, shape.windows()};
    products.filter_gradients(all, dy.read<T>(), products.pixels(image, all), padded.write<T>(), false);
  } else {
    const std::int64_t row = std::int64_t{shape.groups} * shape.padded;
    const std::int64_t rows = tile_size().rows(shape.windows(), static_cast<std::size_t>(row) * sizeof(T));
    const Tensor patches = scratch(x.dtype, {rows, row});
    for_each_tile(shape.windows(), rows, [&](const WindowRange& range) {
      build_patches<ExactOperand<T>>("conv2dBackwardWeights", stream_, image, shape, range, patches.write<T>(), nullptr,
                                     no_guard);
      products.filter_gradients(range, dy.read<T>(), products.patches(patches.read<T>(), range), padded.write<T>(),
                                range.first > 0);
    });
  }
  if (whole_rows) return;
  for_each_element("conv2dBackwardWeights", stream_, dw.count(),
                   Unpad<T>{padded.read<T>(), dw.write<T>(), shape.size, shape.padded});
}

void CudaBackend::conv2d_forward(const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& y,
                                 const ConvGeometry& geometry, const Normalization& of_y) {
  by_dtype(x.dtype, [&](auto tag) { conv2d_forward_as<decltype(tag)>(x, w, bias, y, geometry); });
  if (of_y) normalize(y, of_y, y);
}

void CudaBackend::conv2d_backward_data(const Tensor& dy, const Tensor& w, const Tensor& dx,
                                       const ConvGeometry& geometry) {
  by_dtype(dy.dtype, [&](auto tag) { conv2d_backward_data_as<decltype(tag)>(dy, w, dx, geometry); });
}

void CudaBackend::conv2d_backward_weights(const Tensor& x, const Tensor& dy, const Tensor& dw, const Tensor& dbias,
                                          const ConvGeometry& geometry) {
  by_dtype(x.dtype, [&](auto tag) { conv2d_backward_weights_as<decltype(tag)>(x, dy, dw, geometry); });
  // A shift of the channels has the same gradient.
  if (dbias) affine_backward(dy, {}, dy, {}, {}, dbias);
}

}  // namespace sn::cuda

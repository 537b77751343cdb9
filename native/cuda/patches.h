// Convolution as a product of patches and filters, tile by tile: the patches of a tile stay in the L2 cache from the
// kernel that writes them to the product that reads them, and the whole patch matrix never exists.
#pragma once

#include <algorithm>

#include "cuda/launch.h"
#include "cuda/operands.h"
#include "cuda/primitives.h"

namespace sn::cuda {

// A convolution as the kernels see it. A patch is a row of `size` elements, tap by tap, channels fastest, padded with
// zeros to whole 16-byte pieces, as tensor cores want them.
struct PatchShape {
  std::int64_t images;
  int in_h, in_w, channels;
  int out_h, out_w;
  int groups, width;  // channels of a group
  Window window;
  int size, padded;

  SN_HD_MEMBER std::int64_t windows_per_image() const { return std::int64_t{out_h} * out_w; }
  std::int64_t windows() const { return images * windows_per_image(); }
};

// x and y may be gradients: only their shapes count. `element` is the size of a patch's element.
inline PatchShape patch_shape(const Tensor& x, const Tensor& y, const ConvGeometry& geometry, std::size_t element) {
  const auto extent = [](const Tensor& tensor, int axis) { return static_cast<int>(tensor.shape[axis]); };
  const int width = extent(x, 3) / geometry.groups;
  const int size = geometry.kernel_h * geometry.kernel_w * width;
  const int piece = 16 / static_cast<int>(element);
  return {x.shape[0],      extent(x, 1), extent(x, 2), extent(x, 3), extent(y, 1), extent(y, 2),
          geometry.groups, width,        geometry,     size,         ceil_div(size, piece) * piece};
}

// Whether a patch is a pixel: the image itself is the patch matrix.
inline bool is_pixelwise(const ConvGeometry& g) {
  return g.kernel_h == 1 && g.kernel_w == 1 && g.stride_h == 1 && g.stride_w == 1 && g.padding_h == 0 && g.padding_w == 0;
}

// Windows [first, first + count) of all images one after the other.
struct WindowRange {
  std::int64_t first, count;
};

// How much of a patch matrix is made at a time: half of L2, but enough rows for every multiprocessor.
class TileSize {
 public:
  TileSize(std::size_t l2_bytes, int multiprocessors) : budget_(l2_bytes / 2), least_(8 * multiprocessors) {}

  std::int64_t rows(std::int64_t total, std::size_t bytes_a_row) const {
    const auto fitting = static_cast<std::int64_t>(budget_ / bytes_a_row);
    const std::int64_t most = std::clamp(std::max(fitting, least_), std::int64_t{1}, total);
    return ceil_div(total, ceil_div(total, most));  // tiles of one size, as far as it goes
  }

 private:
  std::size_t budget_;
  std::int64_t least_;
};

template <typename Body>
void for_each_tile(std::int64_t total, std::int64_t rows, Body&& body) {
  for (std::int64_t first = 0; first < total; first += rows) body(WindowRange{first, std::min(rows, total - first)});
}

// The part of the input that one tile of backward data fills, and the windows that see it: images
// [first_image, first_image + images), of each the pixel rows [first_row, first_row + rows).
struct InputTile {
  std::int64_t first_image, images;
  int first_row, rows;
  int first_window_row, window_rows;

  WindowRange windows(const PatchShape& shape) const {
    const std::int64_t first = first_image * shape.windows_per_image() + std::int64_t{first_window_row} * shape.out_w;
    // Several images come whole.
    return {first, ((images - 1) * shape.out_h + window_rows) * shape.out_w};
  }
};

// Cuts the input into tiles whose windows number at most `rows` where that is possible: several images, or a band of
// one. Neighbouring bands share windows, which are then computed twice.
template <typename Body>
void for_each_input_tile(const PatchShape& shape, std::int64_t rows, Body&& body) {
  const std::int64_t images = std::min(rows / shape.windows_per_image(), shape.images);
  if (images > 0) {
    for_each_tile(shape.images, images, [&](const WindowRange& range) {
      body(InputTile{range.first, range.count, 0, shape.in_h, 0, shape.out_h});
    });
    return;
  }
  const Window& w = shape.window;
  const int reach = (w.kernel_h - 1) * w.dilation_h;
  const int window_rows = std::max<int>(1, static_cast<int>(rows / shape.out_w));
  const int band = std::max(w.stride_h, window_rows * w.stride_h - reach);
  for (std::int64_t image = 0; image < shape.images; ++image) {
    for (int row = 0; row < shape.in_h; row += band) {
      const int count = std::min(band, shape.in_h - row);
      const int lowest = std::max(0, row + w.padding_h - reach);
      const int first = std::min(ceil_div(lowest, w.stride_h), shape.out_h);
      const int last = std::min((row + count - 1 + w.padding_h) / w.stride_h + 1, shape.out_h);
      body(InputTile{image, 1, row, count, first, std::max(0, last - first)});
    }
  }
}

// patches[group][window of the range][padded]; absent patches are only measured. inverse_norms[window][group], from the
// first of all windows on; absent where not wanted.
template <typename Operand>
void build_patches(const char* op, cudaStream_t stream, const typename Operand::Value* x, const PatchShape& shape,
                   const WindowRange& range, typename Operand::Element* patches,
                   typename Operand::Value* inverse_norms, const NormGuard& guard);

// The transpose, without atomics: each pixel of the tile collects from the windows that see it, and takes
// x * (sum of radial over those windows) off where there is one. gradients[group][window][padded].
template <typename T>
void gather_patches(const char* op, cudaStream_t stream, const T* gradients, const PatchShape& shape,
                    const InputTile& tile, const T* radial, const T* x, T* dx);

}  // namespace sn::cuda

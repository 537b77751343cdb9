#include "cuda/convolution/tiles.h"

#include <algorithm>

namespace sn::cuda {

PatchShape patch_shape(const ConvProblem& problem, std::size_t element) {
  const auto extent = [](const Shape& shape, int axis) { return static_cast<int>(shape[axis]); };
  const ConvGeometry& geometry = problem.geometry;
  const int width = extent(problem.x, 3) / geometry.groups;
  const int size = geometry.kernel_h * geometry.kernel_w * width;
  const int piece = 16 / static_cast<int>(element);
  return {problem.x[0],
          extent(problem.x, 1),
          extent(problem.x, 2),
          extent(problem.x, 3),
          extent(problem.y, 1),
          extent(problem.y, 2),
          geometry.groups,
          width,
          geometry,
          size,
          ceil_div(size, piece) * piece};
}

bool is_pixelwise(const ConvGeometry& g) {
  return g.kernel_h == 1 && g.kernel_w == 1 && g.stride_h == 1 && g.stride_w == 1 && g.padding_h == 0 &&
         g.padding_w == 0;
}

std::int64_t windows_of_tile(const CudaBackend& device, std::int64_t windows, std::size_t bytes_a_window) {
  const auto fitting = static_cast<std::int64_t>(device.l2_bytes() / 2 / bytes_a_window);
  const std::int64_t least = 8 * device.multiprocessors();
  const std::int64_t most = std::clamp(std::max(fitting, least), std::int64_t{1}, windows);
  return ceil_div(windows, ceil_div(windows, most));  // tiles of one size, as far as it goes
}

std::vector<Tile> window_tiles(std::int64_t windows, std::int64_t most) {
  std::vector<Tile> tiles;
  for (std::int64_t first = 0; first < windows; first += most) {
    tiles.push_back({{first, std::min(most, windows - first)}, {}});
  }
  return tiles;
}

std::vector<Tile> input_tiles(const PatchShape& shape, std::int64_t most) {
  std::vector<Tile> tiles;
  const std::int64_t per_image = shape.windows_per_image();
  const std::int64_t images = std::min(most / per_image, shape.images);
  if (images > 0) {
    for (std::int64_t first = 0; first < shape.images; first += images) {
      const std::int64_t count = std::min(images, shape.images - first);
      tiles.push_back({{first * per_image, count * per_image}, {first, count, 0, shape.in_h}});
    }
    return tiles;
  }
  const Window& w = shape.window;
  const int reach = (w.kernel_h - 1) * w.dilation_h;
  const int window_rows = std::max<int>(1, static_cast<int>(most / shape.out_w));
  const int band = std::max(w.stride_h, window_rows * w.stride_h - reach);
  for (std::int64_t image = 0; image < shape.images; ++image) {
    for (int row = 0; row < shape.in_h; row += band) {
      const int rows = std::min(band, shape.in_h - row);
      const int lowest = std::max(0, row + w.padding_h - reach);
      const int first = std::min(ceil_div(lowest, w.stride_h), shape.out_h);
      const int last = std::min((row + rows - 1 + w.padding_h) / w.stride_h + 1, shape.out_h);
      const std::int64_t count = std::int64_t{std::max(0, last - first)} * shape.out_w;
      tiles.push_back({{image * per_image + std::int64_t{first} * shape.out_w, count}, {image, 1, row, rows}});
    }
  }
  return tiles;
}

}  // namespace sn::cuda

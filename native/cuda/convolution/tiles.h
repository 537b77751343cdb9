// A convolution as patches, and how its windows are cut into tiles that fit the L2 cache.
#pragma once

#include <vector>

#include "cuda/convolution/convolution.h"
#include "cuda/layout.h"
#include "math/macros.h"

namespace sn::cuda {

// A patch is a row of `size` elements, tap by tap, channels fastest, padded with zeros to whole 16-byte pieces, as
// tensor cores want them.
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

// `element` is the size of a patch's element in bytes.
PatchShape patch_shape(const ConvProblem& problem, std::size_t element);

// Whether a patch is a pixel: the image itself is the patch matrix.
bool is_pixelwise(const ConvGeometry& geometry);

// Windows [first, first + count) of all images one after the other.
struct WindowRange {
  std::int64_t first, count;
};

// Images [first_image, first_image + images), of each the pixel rows [first_row, first_row + rows).
struct InputPart {
  std::int64_t first_image, images;
  int first_row, rows;
};

struct Tile {
  WindowRange windows;
  InputPart input;  // of input_tiles(): what is filled from those windows
};

// How many windows a tile takes: as many as fill half of L2, but enough for every multiprocessor.
std::int64_t windows_of_tile(const CudaBackend& device, std::int64_t windows, std::size_t bytes_a_window);

std::vector<Tile> window_tiles(std::int64_t windows, std::int64_t most);

// Cuts the input into tiles that are seen by at most `most` windows where that is possible: several images, or a band
// of one. Neighbouring bands share windows, which are then computed twice.
std::vector<Tile> input_tiles(const PatchShape& shape, std::int64_t most);

}  // namespace sn::cuda

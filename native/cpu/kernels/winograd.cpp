// Convolutions by Winograd's F(4x4, 3x3): a tile of 4x4 outputs takes 36 products for each channel and filter instead
// of 144. Tiles and filters are transformed (winograd_transforms.h), multiplied as 36 matrix products, and transformed
// back. The gradient of the filters is computed at the same points.
#include <omp.h>

#include "cpu/kernels/make.h"
#include "cpu/kernels/parallel.h"
#include "cpu/kernels/winograd_transforms.h"

namespace sn::cpu::SN_ISA {
namespace {

constexpr int panel = winograd_panel;
constexpr int panel_vectors = panel / lanes;

// Where the numbers of transformed tiles are in memory: a plane for each point; in it panels of channels, tiles, and
// channels within the panel.
struct Layout {
  std::int64_t plane, panel_size, tile;

  inline __attribute__((always_inline)) std::int64_t offset(std::int64_t at, int channel) const {
    return at * tile + channel / panel * panel_size + channel % panel;
  }
};

// Added to the size of a plane: planes a power of two apart would compete for a few sets of the cache.
constexpr std::int64_t plane_gap = 16;

// Tiles as rows, with all channels side by side.
inline Layout in_rows(std::int64_t tiles, int width) { return {tiles * width + plane_gap, panel, width}; }
// Panels of channels one after the other, so that a product over tiles reads memory in order.
inline Layout in_panels(std::int64_t tiles, int channels) {
  return {tiles * winograd_panels(channels) * panel + plane_gap, tiles * panel, panel};
}

// Calls part(first channel, a value of the type to use: Vector, or float for the last channels).
template <typename Part>
inline __attribute__((always_inline)) void for_each_vector(int channels, Part part) {
  int c = 0;
  for (; c + lanes <= channels; c += lanes) part(c, Vector{});
  for (; c < channels; ++c) part(c, 0.0F);
}

inline int tiles_h(const WinogradExtents& e) { return (e.out_h + 3) / 4; }
inline int tiles_w(const WinogradExtents& e) { return (e.out_w + 3) / 4; }
inline std::int64_t tiles_of(const WinogradExtents& e) { return e.images * tiles_h(e) * tiles_w(e); }

struct Place {
  std::int64_t image;
  int row, column;  // of the tile's first output
};
inline Place place_of(const WinogradExtents& e, std::int64_t tile) {
  const std::int64_t row = tile / tiles_w(e);
  return {row / tiles_h(e), static_cast<int>(row % tiles_h(e)) * 4, static_cast<int>(tile % tiles_w(e)) * 4};
}

// Pointers to size x size pixels from (row, column) on; outside of the map they point at `zeros`.
template <int size>
struct Pixels {
  const float* at[size * size];

  Pixels(const float* map, int height, int width, int channels, int row, int column, const float* zeros) {
    for (int i = 0; i < size; ++i)
      for (int j = 0; j < size; ++j) {
        const int h = row + i, w = column + j;
        const bool inside = h >= 0 && h < height && w >= 0 && w < width;
        at[i * size + j] = inside ? map + (static_cast<std::int64_t>(h) * width + w) * channels : zeros;
      }
  }
};

inline Pixels<6> input_pixels(const float* x, const WinogradExtents& e, const Place& at, const float* zeros) {
  return {x + at.image * e.in_h * e.in_w * e.channels,
          e.in_h,
          e.in_w,
          e.channels,
          at.row - e.padding_h,
          at.column - e.padding_w,
          zeros};
}

// Transforms a tile along both axes, to slot `slot` of `out`.
template <int size, typename Transform>
inline __attribute__((always_inline)) void transform_tile(const Pixels<size>& pixels, int channels, float* out,
                                                          const Layout& layout, std::int64_t slot,
                                                          Transform transform) {
  for_each_vector(channels, [&](int c, auto kind) {
    using V = decltype(kind);
    V half[points * size];
    for (int j = 0; j < size; ++j) {
      V column[size];
      for (int i = 0; i < size; ++i) column[i] = load<V>(pixels.at[i * size + j] + c);
      transform(column, half + j, size);
    }
    float* to = out + layout.offset(slot, c);
    const std::int64_t plane = layout.plane;
    for (int i = 0; i < points; ++i) {
      V row[points];
      transform(half + i * size, row, 1);
      for (int j = 0; j < points; ++j) store<V>(to + (i * points + j) * plane, row[j]);
    }
  });
}

void input_tile(const Pixels<6>& pixels, int channels, float* out, const Layout& layout, std::int64_t slot) {
  transform_tile(pixels, channels, out, layout, slot,
                 [](const auto* d, auto* at_points, int step) { transform_input(d, at_points, step); });
}

void gradient_tile(const Pixels<4>& pixels, int channels, float* out, const Layout& layout, std::int64_t slot) {
  transform_tile(pixels, channels, out, layout, slot,
                 [](const auto* d, auto* at_points, int step) { transform_gradient(d, at_points, step); });
}

// Transforms the products of a tile back to 4x4 outputs and writes those inside of the map.
void output_tile(const float* products, const Layout& layout, std::int64_t slot, const float* bias, float* map,
                 int height, int width, int channels, const Place& place) {
  const int rows = height - place.row < 4 ? height - place.row : 4;
  const int columns = width - place.column < 4 ? width - place.column : 4;
  float* corner = map + (static_cast<std::int64_t>(place.row) * width + place.column) * channels;
  for_each_vector(channels, [&](int c, auto kind) {
    using V = decltype(kind);
    const float* from = products + layout.offset(slot, c);
    V half[4 * points];
    for (int j = 0; j < points; ++j) {
      V column[points];
      for (int i = 0; i < points; ++i) column[i] = load<V>(from + (i * points + j) * layout.plane);
      interpolate(column, half + j, points);
    }
    const V offset = bias ? load<V>(bias + c) : V{};
    for (int i = 0; i < rows; ++i) {
      V row[4];
      interpolate(half + i * points, row, 1);
      float* to = corner + static_cast<std::int64_t>(i) * width * channels + c;
      for (int j = 0; j < columns; ++j) store<V>(to + j * channels, row[j] + offset);
    }
  });
}

// out[row][panel] = sum over depth of left[row, depth] right[depth][panel], the depth at least 1
struct Product {
  const float* left;
  std::int64_t left_row, left_step;
  const float* right;  // a panel
  float* out;
  std::int64_t out_row;
  std::int64_t depth;
};

// The product of a few rows; with `adds` it is added to `out`. The sums stay in registers, for which GCC needs two
// things: that they are set to zero one by one, and that the loop runs at least once (do-while).
template <int rows, bool adds>
void multiply(const float* left, std::int64_t left_row, std::int64_t left_step, const float* right, float* out,
              std::int64_t out_row, std::int64_t depth) {
  Vector sums[rows][panel_vectors];
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < panel_vectors; ++v) sums[r][v] = Vector{};
  do {
    Vector factors[panel_vectors];
    for (int v = 0; v < panel_vectors; ++v) factors[v] = load<Vector>(right + v * lanes);
    for (int r = 0; r < rows; ++r) {
      const float factor = left[r * left_row];
      for (int v = 0; v < panel_vectors; ++v) sums[r][v] += factor * factors[v];
    }
    left += left_step;
    right += panel;
  } while (--depth > 0);
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < panel_vectors; ++v) {
      float* to = out + r * out_row + v * lanes;
      store<Vector>(to, adds ? load<Vector>(to) + sums[r][v] : sums[r][v]);
    }
}

// The last rows, fewer than block_rows.
template <int rows, bool adds>
void multiply_rest(const Product& p, int count) {
  if (count == rows) return multiply<rows, adds>(p.left, p.left_row, p.left_step, p.right, p.out, p.out_row, p.depth);
  if constexpr (rows > 1) multiply_rest<rows - 1, adds>(p, count);
}

template <bool adds>
void multiply_rows(Product p, std::int64_t rows) {
  for (; rows >= block_rows; rows -= block_rows) {
    multiply<block_rows, adds>(p.left, p.left_row, p.left_step, p.right, p.out, p.out_row, p.depth);
    p.left += block_rows * p.left_row;
    p.out += block_rows * p.out_row;
  }
  if (rows > 0) multiply_rest<block_rows - 1, adds>(p, static_cast<int>(rows));
}

// Transforms filters to [point][panel of outputs][input][panel]. With `back`, for the gradient of the input, they are
// rotated by 180 degrees, and channels and filters change places.
void transform_filters(const float* w, float* out, int filters, int channels, bool back) {
  const int outputs = back ? channels : filters, inputs = back ? filters : channels;
  const std::int64_t pairs = std::int64_t{winograd_panels(outputs)} * inputs;
  in_shares(pairs, pairs * panel * 9 > parallel_threshold / 4, [=](Range range) {
    for (std::int64_t pair = range.begin; pair < range.end; ++pair) {
      const std::int64_t first = pair / inputs * panel, input = pair % inputs;
      float taps[9 * panel] = {};
      for (int t = 0; t < 9; ++t) {
        const int tap = back ? 8 - t : t;
        for (std::int64_t o = first; o < outputs && o < first + panel; ++o)
          taps[t * panel + o - first] = w[back ? (input * 9 + tap) * channels + o : (o * 9 + tap) * channels + input];
      }
      for (int v = 0; v < panel; v += lanes) {
        Vector half[points * 3], column[3], row[points];
        for (int j = 0; j < 3; ++j) {
          for (int i = 0; i < 3; ++i) column[i] = load<Vector>(taps + (i * 3 + j) * panel + v);
          transform_taps(column, half + j, 3);
        }
        for (int i = 0; i < points; ++i) {
          transform_taps(half + i * 3, row, 1);
          for (int j = 0; j < points; ++j) store<Vector>(out + ((i * points + j) * pairs + pair) * panel + v, row[j]);
        }
      }
    }
  });
}

// Transforms the gradient of transformed filters, in their layout, to the gradient of the filters.
void filter_gradients(const float* sums, float* dw, const WinogradExtents& e, Range pairs) {
  const std::int64_t all = std::int64_t{winograd_panels(e.filters)} * e.channels;
  for (std::int64_t pair = pairs.begin; pair < pairs.end; ++pair) {
    const std::int64_t first = pair / e.channels * panel, channel = pair % e.channels;
    float taps[9 * panel];
    for (int v = 0; v < panel; v += lanes) {
      Vector half[3 * points], column[points], row[3];
      for (int j = 0; j < points; ++j) {
        for (int i = 0; i < points; ++i) column[i] = load<Vector>(sums + ((i * points + j) * all + pair) * panel + v);
        gradient_of_taps(column, half + j, points);
      }
      for (int i = 0; i < 3; ++i) {
        gradient_of_taps(half + i * points, row, 1);
        for (int j = 0; j < 3; ++j) store<Vector>(taps + (i * 3 + j) * panel + v, row[j]);
      }
    }
    for (std::int64_t o = first; o < e.filters && o < first + panel; ++o)
      for (int t = 0; t < 9; ++t) dw[(o * 9 + t) * e.channels + channel] = taps[t * panel + o - first];
  }
}

// How many tiles a thread transforms and multiplies together. They and their products stay in its second-level cache;
// at least two blocks of rows, because all filters are read once for each time.
std::int64_t tiles_together(const WinogradExtents& e) {
  constexpr std::int64_t bytes = 320 << 10, most = 48;
  static_assert(most % block_rows == 0);
  const std::int64_t tile = std::int64_t{4} * planes * (e.channels + winograd_panels(e.filters) * panel);
  const std::int64_t blocks = bytes / tile / block_rows;
  if (blocks < 2) return 2 * block_rows;
  return blocks * block_rows < most ? blocks * block_rows : most;
}

// The zeros that pixels outside of the map point at: so many numbers at the start of the workspace.
std::int64_t zeros_of(const WinogradExtents& e) {
  return winograd_panels(e.channels > e.filters ? e.channels : e.filters) * panel;
}

std::int64_t forward_workspace(const WinogradExtents& e) {
  const std::int64_t tiles = tiles_together(e);
  const Layout in = in_rows(tiles, e.channels), out = in_rows(tiles, winograd_panels(e.filters) * panel);
  return zeros_of(e) + (planes * (in.plane + out.plane) + block_gap) * omp_get_max_threads();
}

void forward(const float* x, const float* packed, const float* bias, float* y, const WinogradExtents& e,
             float* workspace) {
  const std::int64_t count = tiles_of(e), together = tiles_together(e);
  const int panels = winograd_panels(e.filters);
  const Layout in = in_rows(together, e.channels), out = in_rows(together, panels * panel);
  float* zeros = workspace;
  for (std::int64_t i = 0; i < zeros_of(e); ++i) zeros[i] = 0;
  workspace += zeros_of(e);
  in_shares(count, count > together, [=](Range range) {
    float* tiles = workspace + omp_get_thread_num() * (planes * (in.plane + out.plane) + block_gap);
    float* products = tiles + planes * in.plane;
    for (std::int64_t first = range.begin; first < range.end; first += together) {
      const std::int64_t here = range.end - first < together ? range.end - first : together;
      for (std::int64_t t = 0; t < here; ++t) {
        const Place at = place_of(e, first + t);
        input_tile(input_pixels(x, e, at, zeros), e.channels, tiles, in, t);
      }
      for (int point = 0; point < planes; ++point)
        for (int p = 0; p < panels; ++p) {
          const float* right = packed + (static_cast<std::int64_t>(point) * panels + p) * e.channels * panel;
          float* to = products + point * out.plane + p * panel;
          multiply_rows<false>({tiles + point * in.plane, in.tile, 1, right, to, out.tile, e.channels}, here);
        }
      for (std::int64_t t = 0; t < here; ++t) {
        const Place at = place_of(e, first + t);
        float* map = y + at.image * e.out_h * e.out_w * e.filters;
        output_tile(products, out, t, bias, map, e.out_h, e.out_w, e.filters, at);
      }
    }
  });
}

// How many tiles a product of the filters' gradient sums over at once. The threads share them in the last-level cache;
// with fewer tiles, the sums of large filters would be read and written more often.
std::int64_t tiles_added(const WinogradExtents& e) {
  constexpr std::int64_t most = 256;
  const std::int64_t count = tiles_of(e);
  return count < most ? count : most;
}

std::int64_t backward_weights_workspace(const WinogradExtents& e) {
  const std::int64_t tiles = tiles_added(e);
  const std::int64_t sums = std::int64_t{panel} * winograd_panels(e.filters) * e.channels;
  return zeros_of(e) + planes * (in_panels(tiles, e.channels).plane + in_panels(tiles, e.filters).plane + sums);
}

void backward_weights(const float* x, const float* dy, float* dw, const WinogradExtents& e, float* workspace) {
  const std::int64_t count = tiles_of(e), together = tiles_added(e);
  const int panels = winograd_panels(e.filters), channel_panels = winograd_panels(e.channels);
  const Layout in = in_panels(together, e.channels), out = in_panels(together, e.filters);
  float* zeros = workspace;
  float* tiles = zeros + zeros_of(e);
  float* gradients = tiles + planes * in.plane;
  float* sums = gradients + planes * out.plane;  // in the layout of transformed filters
  // Beyond the last filter, a panel of gradients is not initialised; the sums from there are not read.
  const std::int64_t sums_panel = static_cast<std::int64_t>(e.channels) * panel;
  for (std::int64_t i = 0; i < zeros_of(e); ++i) zeros[i] = 0;
#pragma omp parallel
  {
    const int thread = omp_get_thread_num(), threads = omp_get_num_threads();
    for (std::int64_t first = 0; first < count; first += together) {
      const std::int64_t here = count - first < together ? count - first : together;
      const Range mine = share_of(here, thread, threads);
      for (std::int64_t t = mine.begin; t < mine.end; ++t) {
        const Place at = place_of(e, first + t);
        input_tile(input_pixels(x, e, at, zeros), e.channels, tiles, in, t);
        const float* map = dy + at.image * e.out_h * e.out_w * e.filters;
        gradient_tile({map, e.out_h, e.out_w, e.filters, at.row, at.column, zeros}, e.filters, gradients, out, t);
      }
#pragma omp barrier
      const Range work = share_of(planes * panels, thread, threads);
      for (std::int64_t item = work.begin; item < work.end; ++item) {
        const std::int64_t point = item / panels, p = item % panels;
        for (int c = 0; c < channel_panels; ++c) {
          const int width = e.channels - c * panel < panel ? e.channels - c * panel : panel;
          const float* left = tiles + point * in.plane + c * in.panel_size;
          const float* right = gradients + point * out.plane + p * out.panel_size;
          const Product product{left, 1, panel, right, sums + item * sums_panel + c * panel * panel, panel, here};
          if (first > 0) {
            multiply_rows<true>(product, width);
          } else {
            multiply_rows<false>(product, width);
          }
        }
      }
#pragma omp barrier
    }
    filter_gradients(sums, dw, e, share_of(std::int64_t{panels} * e.channels, thread, threads));
  }
}

}  // namespace

WinogradKernels make_winograd_kernels() {
  return {transform_filters, forward_workspace, forward, backward_weights_workspace, backward_weights};
}

}  // namespace sn::cpu::SN_ISA

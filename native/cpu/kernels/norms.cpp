// The norms of patches by box sums, and the way back through them. Over the input x that is one read for the norms and
// one read-modify-write of dx; nothing has the size of all patches.
#include "cpu/kernels/constant.h"
#include "cpu/kernels/make.h"
#include "cpu/kernels/row_sums.h"
#include "math/norms.h"

namespace sn::cpu::SN_ISA {
namespace {

// `width` is a Constant for images of few channels: the inner loop is then unrolled, and vectors go across pixels.
template <typename T, typename Width>
__attribute__((noinline)) void squares_of_rows(const T* __restrict x, T* __restrict squares, std::int64_t rows,
                                               Width width) {
#pragma omp simd
  for (std::int64_t row = 0; row < rows; ++row) {
    T sum = 0;
    for (int c = 0; c < width; ++c) sum += x[row * width + c] * x[row * width + c];
    squares[row] = sum;
  }
}

// The same where a row is a whole number of vectors.
template <typename T>
__attribute__((noinline)) void squares_of_block(const T* __restrict x, T* __restrict squares, std::int64_t rows,
                                                int width) {
  RowSums<T> sums;
  for (std::int64_t row = 0; row < rows; ++row) {
    const T* __restrict values = x + row * width;
    T by_lane[lanes];
#pragma omp simd
    for (int i = 0; i < lanes; ++i) by_lane[i] = values[i] * values[i];
    for (int first = lanes; first < width; first += lanes) {
#pragma omp simd
      for (int i = 0; i < lanes; ++i) by_lane[i] += values[first + i] * values[first + i];
    }
    sums.put(row, by_lane);
  }
  for (std::int64_t row = 0; row < rows; ++row) squares[row] = sums.of(row);
}

template <typename T>
void pixel_squares(const T* x, T* squares, std::int64_t pixels, int channels, int groups) {
  const int width = channels / groups;
  in_shares(pixels * groups, pixels * channels > sphere_threshold, [=](Range range) {
    const std::int64_t rows = range.end - range.begin;
    const T* from = x + range.begin * width;
    T* to = squares + range.begin;
    if (width == 1) return squares_of_rows(from, to, rows, Constant<1>());
    if (width == 3) return squares_of_rows(from, to, rows, Constant<3>());
    if (width == 4) return squares_of_rows(from, to, rows, Constant<4>());
    if (width % lanes != 0) return squares_of_rows(from, to, rows, width);
    for (std::int64_t first = 0; first < rows; first += block_positions) {
      const std::int64_t count = rows - first < block_positions ? rows - first : block_positions;
      squares_of_block(from + first * width, to + first, count, width);
    }
  });
}

// The outputs [first, last) along one axis whose tap at `offset` (kernel index * dilation - padding) is inside the
// image.
struct Outputs {
  int first, last;
};
inline Outputs covered(int offset, int stride, int in, int out) {
  const int first = offset >= 0 ? 0 : (-offset + stride - 1) / stride;
  const int reach = in - 1 - offset;
  const int last = reach < 0 ? 0 : reach / stride + 1;
  return {first, last < out ? last : out};
}

// Calls body(first pixel, first window, count) for every run of taps of one image: window i sees pixel i * stride.
template <typename Body>
inline __attribute__((always_inline)) void for_each_run(const Box& box, Body body) {
  const Window& w = box.window;
  for (int kh = 0; kh < w.kernel_h; ++kh) {
    const int offset_h = kh * w.dilation_h - w.padding_h;
    const Outputs rows = covered(offset_h, w.stride_h, box.in_h, box.out_h);
    for (int kw = 0; kw < w.kernel_w; ++kw) {
      const int offset_w = kw * w.dilation_w - w.padding_w;
      const Outputs columns = covered(offset_w, w.stride_w, box.in_w, box.out_w);
      if (columns.first >= columns.last) continue;
      for (int oh = rows.first; oh < rows.last; ++oh) {
        const int in_row = oh * w.stride_h + offset_h;
        const int in_column = columns.first * w.stride_w + offset_w;
        body((static_cast<std::int64_t>(in_row) * box.in_w + in_column) * box.groups,
             (static_cast<std::int64_t>(oh) * box.out_w + columns.first) * box.groups, columns.last - columns.first);
      }
    }
  }
}

// Adds pixels to the windows that see them; transposed, windows to the pixels that they see.
template <typename T, bool transposed>
void box_sum(const T* in, T* out, std::int64_t images, const Box& box) {
  const std::int64_t pixels = static_cast<std::int64_t>(box.in_h) * box.in_w * box.groups;
  const std::int64_t windows = static_cast<std::int64_t>(box.out_h) * box.out_w * box.groups;
  const std::int64_t source_size = transposed ? windows : pixels;
  const std::int64_t target_size = transposed ? pixels : windows;
  const int groups = box.groups;
  const int stride = box.window.stride_w;
  const int source_step = transposed ? groups : stride * groups;
  const int target_step = transposed ? stride * groups : groups;
  in_shares(images, images * pixels > sphere_threshold, [=](Range range) {
    for (std::int64_t n = range.begin; n < range.end; ++n) {
      const T* source = in + n * source_size;
      T* target = out + n * target_size;
      for (std::int64_t i = 0; i < target_size; ++i) target[i] = 0;
      for_each_run(box, [=](std::int64_t pixel, std::int64_t window, int count) {
        const T* from = source + (transposed ? window : pixel);
        T* to = target + (transposed ? pixel : window);
        if (stride == 1) {
          for (int i = 0; i < count * groups; ++i) to[i] += from[i];
        } else {
          for (int i = 0; i < count; ++i)
            for (int g = 0; g < groups; ++g) to[i * target_step + g] += from[i * source_step + g];
        }
      });
    }
  });
}

template <typename T>
bool inverse_norms(T* values, std::int64_t count, T eps, bool add) {
  bool bounded = true;
  bool* const shared = &bounded;
  in_shares(count, count > sphere_threshold, [=](Range range) {
    T most = 0;
#pragma omp simd reduction(max : most)
    for (std::int64_t i = range.begin; i < range.end; ++i) {
      most = values[i] > most ? values[i] : most;
      values[i] = math::guarded_inverse_norm(values[i], eps, add);
    }
    if (most < T(INFINITY)) return;
#pragma omp atomic write
    *shared = false;
  });
  return bounded;
}

// Whether one of the tiles in these rows is uneven. Columns go in parts that are divisible by a tile, so that the pass
// over the rows is vector code.
template <typename T>
bool are_tiles_uneven(const T* inverse_norms, int rows, int width, T ratio) {
  constexpr int tile = 4, part = 64;
  for (int first = 0; first < width; first += part) {
    const int columns = width - first < part ? width - first : part;
    T least[part], most[part];
    for (int j = 0; j < part; ++j) {
      least[j] = T(INFINITY);
      most[j] = 0;
    }
    for (int row = 0; row < rows; ++row) {
      const T* from = inverse_norms + static_cast<std::int64_t>(row) * width + first;
#pragma omp simd
      for (int j = 0; j < columns; ++j) {
        const T positive = from[j] > 0 ? from[j] : T(INFINITY);
        least[j] = positive < least[j] ? positive : least[j];
        most[j] = from[j] > most[j] ? from[j] : most[j];
      }
    }
    for (int corner = 0; corner < columns; corner += tile) {
      T low = least[corner], high = most[corner];
      for (int j = corner + 1; j < corner + tile; ++j) {
        low = least[j] < low ? least[j] : low;
        high = most[j] > high ? most[j] : high;
      }
      if (high > ratio * low) return true;
    }
  }
  return false;
}

template <typename T>
void find_uneven_tiles(const T* inverse_norms, bool* has, std::int64_t images, int height, int width, T ratio) {
  const std::int64_t positions = static_cast<std::int64_t>(height) * width;
  in_shares(images, images * positions > parallel_threshold, [=](Range range) {
    for (std::int64_t n = range.begin; n < range.end; ++n) {
      has[n] = false;
      for (int row = 0; row < height && !has[n]; row += 4) {
        const int rows = height - row < 4 ? height - row : 4;
        has[n] = are_tiles_uneven(inverse_norms + n * positions + static_cast<std::int64_t>(row) * width, rows, width,
                                  ratio);
      }
    }
  });
}

template <typename T>
void subtract_radial(T* dx, const T* x, const T* weight, std::int64_t pixels, int channels, int groups) {
  const int width = channels / groups;
  in_shares(pixels * groups, pixels * channels > sphere_threshold, [=](Range range) {
    for (std::int64_t row = range.begin; row < range.end; ++row) {
      const T factor = weight[row];
      T* out = dx + row * width;
      const T* in = x + row * width;
#pragma omp simd
      for (int c = 0; c < width; ++c) out[c] -= in[c] * factor;
    }
  });
}

}  // namespace

template <typename T>
NormKernels<T> make_norm_kernels() {
  return {pixel_squares<T>, box_sum<T, false>,    box_sum<T, true>,
          inverse_norms<T>, find_uneven_tiles<T>, subtract_radial<T>};
}

template NormKernels<float> make_norm_kernels();
template NormKernels<double> make_norm_kernels();

}  // namespace sn::cpu::SN_ISA

#include "cpu/kernels/constant.h"
#include "cpu/kernels/make.h"
#include "cpu/kernels/parallel.h"

namespace sn::cpu::SN_ISA {
namespace {

// Positions along one axis of a window that lie inside the image.
struct Span {
  int begin, end;
};

inline Span inside(int start, int kernel, int extent) {
  return {start < 0 ? -start : 0, start + kernel > extent ? extent - start : kernel};
}

// One placement of the window: where its corner is and what of it lies inside.
struct Placement {
  int top, left;
  Span rows, columns;
};

inline Placement place(const PoolExtents& e, int output_y, int output_x) {
  const int top = output_y * e.window.stride_h - e.window.padding_h;
  const int left = output_x * e.window.stride_w - e.window.padding_w;
  return {top, left, inside(top, e.window.kernel_h, e.height), inside(left, e.window.kernel_w, e.width)};
}

inline std::int64_t input_elements(const PoolExtents& e) { return e.images * e.height * e.width * e.channels; }

// body(image, output_y, output_x, index of the output's first channel)
template <typename Body>
void for_each_output(const PoolExtents& e, Body body) {
  in_shares(e.images * e.output_height, input_elements(e) > parallel_threshold, [=](Range rows) {
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      for (int x = 0; x < e.output_width; ++x) {
        body(row / e.output_height, int(row % e.output_height), x, (row * e.output_width + x) * e.channels);
      }
    }
  });
}

// body(output_y, output_x, index of the output's first channel, position in the window, index of the input's first
// channel) for every pair of an output and an input that it saw. Each input row belongs to one thread.
template <typename T, typename Body>
void for_each_pair(const PoolExtents& e, T* dx, Body body) {
  const Window& w = e.window;
  const std::int64_t rows = e.images * e.height;
#pragma omp parallel for schedule(static) if (input_elements(e) > parallel_threshold)
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t image = row / e.height;
    const int padded_y = int(row % e.height) + w.padding_h;
    const std::int64_t first_input = row * e.width * e.channels;
    for (std::int64_t i = 0; i < e.width * e.channels; ++i) dx[first_input + i] = T(0);
    const int first_y = padded_y < w.kernel_h ? 0 : (padded_y - w.kernel_h) / w.stride_h + 1;
    for (int y = first_y; y < e.output_height && y * w.stride_h <= padded_y; ++y) {
      const std::int64_t position_row = std::int64_t(padded_y - y * w.stride_h) * w.kernel_w;
      for (int x = 0; x < e.output_width; ++x) {
        const int left = x * w.stride_w - w.padding_w;
        const Span columns = inside(left, w.kernel_w, e.width);
        const std::int64_t output = ((image * e.output_height + y) * e.output_width + x) * e.channels;
        for (int column = columns.begin; column < columns.end; ++column) {
          body(y, x, output, position_row + column, first_input + (left + column) * e.channels);
        }
      }
    }
  }
}

// The integer as wide as T, so that a comparison of Ts selects it.
template <typename T>
struct Lane {
  using Type = std::int32_t;
};
template <>
struct Lane<double> {
  using Type = std::int64_t;
};

// body(first channel, how many) for blocks of sizes that the compiler knows: what is kept of a block stays in
// registers.
template <typename Body>
inline void for_each_block(std::int64_t channels, Body body) {
  std::int64_t c = 0;
  for (; c + 64 <= channels; c += 64) body(c, Constant<64>());
  for (; c + 16 <= channels; c += 16) body(c, Constant<16>());
  for (; c + 4 <= channels; c += 4) body(c, Constant<4>());
  for (; c < channels; ++c) body(c, Constant<1>());
}

// Maxima of `channels` channels over one placement; `x` points at the first of them in its image. The first of
// equals wins, and a NaN wins over numbers.
template <int channels, typename T, typename Index>
inline void window_maximum(const T* x, const PoolExtents& e, const Placement& at, T* y, Index* index) {
  using Position = typename Lane<T>::Type;
  T best[channels];
  Position best_position[channels];
  for (int c = 0; c < channels; ++c) {
    best[c] = -T(HUGE_VAL);
    best_position[c] = at.rows.begin * e.window.kernel_w + at.columns.begin;
  }
  for (int row = at.rows.begin; row < at.rows.end; ++row) {
    const std::int64_t row_start = std::int64_t(at.top + row) * e.width + at.left;
    for (int column = at.columns.begin; column < at.columns.end; ++column) {
      const T* pixel = x + (row_start + column) * e.channels;
      const Position position = row * e.window.kernel_w + column;
#pragma omp simd
      for (int c = 0; c < channels; ++c) {
        const T value = pixel[c];
        const bool higher = (value > best[c]) | (value != value);
        best[c] = higher ? value : best[c];
        best_position[c] = higher ? position : best_position[c];
      }
    }
  }
  for (int c = 0; c < channels; ++c) y[c] = best[c];
  if (index == nullptr) return;
#pragma omp simd
  for (int c = 0; c < channels; ++c) index[c] = Index(best_position[c]);
}

template <typename T, typename Index>
void max_forward(const T* x, T* y, Index* index, const PoolExtents& e) {
  for_each_output(e, [=](std::int64_t image, int output_y, int output_x, std::int64_t output) {
    const Placement at = place(e, output_y, output_x);
    const T* pixels = x + image * e.height * e.width * e.channels;
    for_each_block(e.channels, [=, &e, &at](std::int64_t c, auto size) {
      window_maximum<size>(pixels + c, e, at, y + output + c, index == nullptr ? nullptr : index + output + c);
    });
  });
}

// Pointers are local where bytes are read beside them: bytes may alias anything, and the compiler would load the
// captures again and again.
template <typename T, typename Index>
void max_backward(const T* dy, const Index* index, T* dx, const PoolExtents& e) {
  for_each_pair(e, dx, [=, channels = e.channels](int, int, std::int64_t output, auto position, std::int64_t input) {
    using Position = typename Lane<T>::Type;
    const T* gradient = dy + output;
    const Index* maximum = index + output;
    T* target = dx + input;
#pragma omp simd
    for (std::int64_t c = 0; c < channels; ++c) {
      target[c] += Position(maximum[c]) == Position(position) ? gradient[c] : T(0);
    }
  });
}

template <typename T>
T average_factor(const PoolExtents& e, int output_y, int output_x, bool count_padding) {
  // Not a product of ints: the window of a global pooling is the whole image.
  if (count_padding) return T(1) / (T(e.window.kernel_h) * T(e.window.kernel_w));
  const Placement at = place(e, output_y, output_x);
  return T(1) / T((at.rows.end - at.rows.begin) * (at.columns.end - at.columns.begin));
}

template <typename T>
void average_forward(const T* x, T* y, bool count_padding, const PoolExtents& e) {
  for_each_output(e, [=, &e](std::int64_t image, int output_y, int output_x, std::int64_t output) {
    const Placement at = place(e, output_y, output_x);
    const T* pixels = x + image * e.height * e.width * e.channels;
    T* mean = y + output;
    for (std::int64_t c = 0; c < e.channels; ++c) mean[c] = T(0);
    for (int row = at.rows.begin; row < at.rows.end; ++row) {
      for (int column = at.columns.begin; column < at.columns.end; ++column) {
        const T* pixel = pixels + (std::int64_t(at.top + row) * e.width + at.left + column) * e.channels;
#pragma omp simd
        for (std::int64_t c = 0; c < e.channels; ++c) mean[c] += pixel[c];
      }
    }
    const T factor = average_factor<T>(e, output_y, output_x, count_padding);
    for (std::int64_t c = 0; c < e.channels; ++c) mean[c] *= factor;
  });
}

template <typename T>
void average_backward(const T* dy, T* dx, bool count_padding, const PoolExtents& e) {
  for_each_pair(e, dx, [=, &e](int output_y, int output_x, std::int64_t output, int, std::int64_t input) {
    const T factor = average_factor<T>(e, output_y, output_x, count_padding);
#pragma omp simd
    for (std::int64_t c = 0; c < e.channels; ++c) dx[input + c] += dy[output + c] * factor;
  });
}

}  // namespace

template <typename T>
PoolKernels<T> make_pool_kernels() {
  return {{max_forward<T, std::uint8_t>, max_backward<T, std::uint8_t>},
          {max_forward<T, std::int32_t>, max_backward<T, std::int32_t>},
          average_forward<T>,
          average_backward<T>};
}

template PoolKernels<float> make_pool_kernels();
template PoolKernels<double> make_pool_kernels();

}  // namespace sn::cpu::SN_ISA

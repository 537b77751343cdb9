// Pooling. A thread has a pack of channels of one pixel: of the output going forward, of the input going back, where it
// looks up the windows that cover it, so that nothing is added to twice.
#include <cmath>

#include "cuda/backend.h"
#include "cuda/reduce.h"

namespace sn::cuda {
namespace {

struct Map {
  int height, width;

  __device__ int pixels() const { return height * width; }
};

// Images as groups of pixels.
RowGroups images_of(const Tensor& x) { return {x.shape[0], x.shape[1] * x.shape[2], x.shape[3]}; }

struct Pools {
  Map input, output;
  Window window;
};

// `input` and `output` may be gradients: only their shapes count.
Pools pools_of(const Tensor& input, const Tensor& output, const Window& window) {
  const auto map = [](const Tensor& x) { return Map{static_cast<int>(x.shape[1]), static_cast<int>(x.shape[2])}; };
  return {map(input), map(output), window};
}

struct Pixel {
  int y, x;
};

// Of a row of the image that the thread works on: images are groups of rows.
__device__ __forceinline__ Pixel pixel_at(const ColumnThread& at, std::int64_t row, const Map& map) {
  const int pixel = static_cast<int>(row - at.group * map.pixels());
  const int y = pixel / map.width;
  return {y, pixel - y * map.width};
}

// The thread's channels of the first pixel of that image, and from there to those of another pixel.
__device__ __forceinline__ std::int64_t image_index(const ColumnThread& at, const Map& map) {
  return at.index(at.group * map.pixels());
}
__device__ __forceinline__ std::int64_t pixel_offset(const ColumnThread& at, const Pixel& pixel, const Map& map) {
  return (pixel.y * map.width + pixel.x) * at.channels;
}

struct Span {
  int begin, end;
};

// One placement of a window: where its corner is and what of it lies inside the image.
struct Placement {
  int top, left;
  Span rows, columns;

  __device__ int pixels() const { return (rows.end - rows.begin) * (columns.end - columns.begin); }
};

__device__ __forceinline__ Span inside(int start, int kernel, int extent) {
  return {start < 0 ? -start : 0, start + kernel > extent ? extent - start : kernel};
}

__device__ __forceinline__ Placement place(const Pools& pools, const Pixel& output) {
  const Window& w = pools.window;
  const int top = output.y * w.stride_h - w.padding_h;
  const int left = output.x * w.stride_w - w.padding_w;
  return {top, left, inside(top, w.kernel_h, pools.input.height), inside(left, w.kernel_w, pools.input.width)};
}

template <typename T>
__device__ __forceinline__ T average_factor(const Pools& pools, const Placement& placement, bool count_padding) {
  return T(1) / static_cast<T>(count_padding ? pools.window.kernel_h * pools.window.kernel_w : placement.pixels());
}

// The windows along one axis that cover a pixel, counted from the start of the padding.
__device__ __forceinline__ Span covering(int padded, int kernel, int stride, int outputs) {
  const int begin = padded < kernel ? 0 : (padded - kernel) / stride + 1;
  const int end = padded / stride + 1;
  return {begin, end < outputs ? end : outputs};
}

// Forward: what becomes of the pixels of a window -----------------------------------------------------------------

// The first of equals wins, and a NaN wins over numbers.
template <typename T, int width>
struct Maximum {
  Pack<T, width> value;
  int position[width];

  __device__ explicit Maximum(int first_position) {
    for (int i = 0; i < width; ++i) {
      value.values[i] = -T(HUGE_VAL);
      position[i] = first_position;
    }
  }
  __device__ void take(const Pack<T, width>& pixel, int at) {
    for (int i = 0; i < width; ++i) {
      const T candidate = pixel.values[i];
      const bool higher = candidate > value.values[i] || candidate != candidate;
      value.values[i] = higher ? candidate : value.values[i];
      position[i] = higher ? at : position[i];
    }
  }
};

template <typename T, int width>
struct Total {
  Pack<T, width> value = {};

  __device__ void take(const Pack<T, width>& pixel, int) {
    for (int i = 0; i < width; ++i) value.values[i] += pixel.values[i];
  }
};

// taker.take(pixel, position in the window) for all that lies inside the image.
template <int width, typename T, typename Taker>
__device__ __forceinline__ void take_window(const T* image, const ColumnThread& at, const Pools& pools,
                                            const Placement& window, Taker& taker) {
  for (int row = window.rows.begin; row < window.rows.end; ++row) {
    const T* line = image + pixel_offset(at, {window.top + row, window.left}, pools.input);
    SN_UNROLL(2)
    for (int column = window.columns.begin; column < window.columns.end; ++column) {
      taker.take(load<width>(line + column * at.channels), row * pools.window.kernel_w + column);
    }
  }
}

// Reads x once (windows that overlap meet it in the cache), writes y and the index.
template <typename T, typename Index, int width>
struct MaxPool {
  const T* x;
  T* y;
  Index* index;  // null where nothing will go back
  Pools pools;

  __device__ void operator()(const ColumnThread& at) const {
    const T* image = x + image_index(at, pools.input);
    for (std::int64_t row = at.row; row < at.end; row += at.step) {
      const Placement window = place(pools, pixel_at(at, row, pools.output));
      Maximum<T, width> maximum(window.rows.begin * pools.window.kernel_w + window.columns.begin);
      take_window<width>(image, at, pools, window, maximum);
      store(y + at.index(row), maximum.value);
      if (index != nullptr) store_positions(maximum, at.index(row));
    }
  }
  __device__ void store_positions(const Maximum<T, width>& maximum, std::int64_t to) const {
    Pack<Index, width> positions;
    for (int i = 0; i < width; ++i) positions.values[i] = static_cast<Index>(maximum.position[i]);
    store(index + to, positions);
  }
};

// Reads x once (windows that overlap meet it in the cache), writes y.
template <typename T, int width>
struct AveragePool {
  const T* x;
  T* y;
  Pools pools;
  bool count_padding;

  __device__ void operator()(const ColumnThread& at) const {
    const T* image = x + image_index(at, pools.input);
    for (std::int64_t row = at.row; row < at.end; row += at.step) {
      const Placement window = place(pools, pixel_at(at, row, pools.output));
      Total<T, width> mean;
      take_window<width>(image, at, pools, window, mean);
      const T factor = average_factor<T>(pools, window, count_padding);
      for (int i = 0; i < width; ++i) mean.value.values[i] *= factor;
      store(y + at.index(row), mean.value);
    }
  }
};

// Backward: what a window gives to a pixel that it covers ---------------------------------------------------------

template <typename T, typename Index, int channels>
struct MaxShare {
  using Type = T;
  static constexpr int width = channels;

  const T* dy;
  const Index* index;

  __device__ void add(const Pools&, const Pixel&, std::int64_t output, int position, Pack<T, width>& sum) const {
    const Pack<T, width> gradient = load<width>(dy + output);
    const Pack<Index, width> maximum = load<width>(index + output);
    for (int i = 0; i < width; ++i) {
      sum.values[i] += static_cast<int>(maximum.values[i]) == position ? gradient.values[i] : T(0);
    }
  }
};

template <typename T, int channels>
struct AverageShare {
  using Type = T;
  static constexpr int width = channels;

  const T* dy;
  bool count_padding;

  __device__ void add(const Pools& pools, const Pixel& window, std::int64_t output, int, Pack<T, width>& sum) const {
    const Pack<T, width> gradient = load<width>(dy + output);
    const T factor = average_factor<T>(pools, place(pools, window), count_padding);
    for (int i = 0; i < width; ++i) sum.values[i] += gradient.values[i] * factor;
  }
};

// Reads dy (and the index) once: pixels under the same window meet it in the cache; writes dx.
template <typename Share>
struct PoolBackward {
  Share share;
  typename Share::Type* dx;
  Pools pools;

  __device__ void operator()(const ColumnThread& at) const {
    const Window& w = pools.window;
    const std::int64_t outputs = image_index(at, pools.output);
    for (std::int64_t row = at.row; row < at.end; row += at.step) {
      const Pixel input = pixel_at(at, row, pools.input);
      const int padded_y = input.y + w.padding_h, padded_x = input.x + w.padding_w;
      const Span ys = covering(padded_y, w.kernel_h, w.stride_h, pools.output.height);
      const Span xs = covering(padded_x, w.kernel_w, w.stride_w, pools.output.width);
      Pack<typename Share::Type, Share::width> sum = {};
      for (int y = ys.begin; y < ys.end; ++y) {
        for (int x = xs.begin; x < xs.end; ++x) {
          const Pixel window{y, x};
          const int position = (padded_y - y * w.stride_h) * w.kernel_w + padded_x - x * w.stride_w;
          share.add(pools, window, outputs + pixel_offset(at, window, pools.output), position, sum);
        }
      }
      store(dx + at.index(row), sum);
    }
  }
};

// Whole images ----------------------------------------------------------------------------------------------------

// Reads x once: 1 T.
template <typename T, int channels>
struct FoldPixels {
  using State = Sums<1>;
  static constexpr int width = channels;

  const T* x;

  template <typename States>
  __device__ void add(const Run& run, const States& states) const {
    Total<T, width> total;
    SN_UNROLL(4)
    for (int row = 0; row < run.rows; ++row) total.take(load<width>(x + run.index(row)), row);
    for (int i = 0; i < width; ++i) states[i].merge({{double(total.value.values[i])}});
  }
};

template <typename T>
struct SaveMean {
  T* y;
  double count;
  __device__ void operator()(std::int64_t index, const Sums<1>& sums) const {
    y[index] = static_cast<T>(sums.of[0] / count);
  }
};

// Reads dy, writes dx: 1 T.
template <typename T, int width>
struct SpreadMean {
  const T* dy;
  T* dx;
  T factor;

  __device__ void operator()(const ColumnThread& at) const {
    Pack<T, width> share = load<width>(dy + at.index(at.group));
    for (int i = 0; i < width; ++i) share.values[i] *= factor;
    for (std::int64_t pixel = at.row; pixel < at.end; pixel += at.step) store(dx + at.index(pixel), share);
  }
};

// The position of a maximum fits a byte unless the window is huge.
DType index_dtype(const Window& window) { return window.kernel_h * window.kernel_w <= 256 ? DType::u8 : DType::i32; }

template <typename Function>
void by_index(DType dtype, Function&& function) {
  if (dtype == DType::u8) return function(std::uint8_t{});
  function(std::int32_t{});
}

}  // namespace

Tensor CudaBackend::max_pool2d_forward(const Tensor& x, const Tensor& y, const Window& window, bool training) {
  const DType dtype = index_dtype(window);
  const Tensor index = training ? scratch(dtype, y.shape) : Tensor{};
  by_column(x, [&](auto tag, auto of_column) {
    by_index(dtype, [&](auto index_tag) {
      using T = decltype(tag);
      using Index = decltype(index_tag);
      constexpr int width = decltype(of_column)::value;
      for_each_column("maxPool2d", stream_, images_of(y), width,
                      MaxPool<T, Index, width>{x.read<T>(), y.write<T>(), index.write<Index>(),
                                               pools_of(x, y, window)});
    });
  });
  return index;
}

void CudaBackend::max_pool2d_backward(const Tensor& dy, const AnyTensor& saved, const Tensor& dx,
                                      const Window& window) {
  by_column(dx, [&](auto tag, auto of_column) {
    by_index(saved.dtype, [&](auto index_tag) {
      using T = decltype(tag);
      using Index = decltype(index_tag);
      using Share = MaxShare<T, Index, decltype(of_column)::value>;
      for_each_column(
          "maxPool2dBackward", stream_, images_of(dx), Share::width,
          PoolBackward<Share>{{dy.read<T>(), saved.read<Index>()}, dx.write<T>(), pools_of(dx, dy, window)});
    });
  });
}

void CudaBackend::avg_pool2d_forward(const Tensor& x, const Tensor& y, const Window& window, bool count_padding) {
  by_column(x, [&](auto tag, auto of_column) {
    using T = decltype(tag);
    constexpr int width = decltype(of_column)::value;
    for_each_column("avgPool2d", stream_, images_of(y), width,
                    AveragePool<T, width>{x.read<T>(), y.write<T>(), pools_of(x, y, window), count_padding});
  });
}

void CudaBackend::avg_pool2d_backward(const Tensor& dy, const Tensor& dx, const Window& window, bool count_padding) {
  by_column(dx, [&](auto tag, auto of_column) {
    using T = decltype(tag);
    using Share = AverageShare<T, decltype(of_column)::value>;
    for_each_column("avgPool2dBackward", stream_, images_of(dx), Share::width,
                    PoolBackward<Share>{{dy.read<T>(), count_padding}, dx.write<T>(), pools_of(dx, dy, window)});
  });
}

void CudaBackend::global_avg_pool2d_forward(const Tensor& x, const Tensor& y) {
  by_column(x, [&](auto tag, auto of_column) {
    using T = decltype(tag);
    using Fold = FoldPixels<T, decltype(of_column)::value>;
    const ColumnLayout layout = fold_layout(images_of(x), Fold::width);
    const Tensor partials = scratch(DType::f64, partials_shape<Fold>(layout));
    fold_columns("globalAvgPool2d", stream_, layout, Fold{x.read<T>()},
                 SaveMean<T>{y.write<T>(), static_cast<double>(images_of(x).rows)}, partials);
  });
}

void CudaBackend::global_avg_pool2d_backward(const Tensor& dy, const Tensor& dx) {
  by_column(dx, [&](auto tag, auto of_column) {
    using T = decltype(tag);
    constexpr int width = decltype(of_column)::value;
    for_each_column("globalAvgPool2dBackward", stream_, images_of(dx), width,
                    SpreadMean<T, width>{dy.read<T>(), dx.write<T>(), T(1) / static_cast<T>(images_of(dx).rows)});
  });
}

}  // namespace sn::cuda

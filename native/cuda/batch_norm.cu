// Batch normalisation in four passes over memory: moments and normalisation forward, sums and gradient backward. What
// belongs to channels stays on the device.
#include <cmath>

#include "cuda/backend.h"
#include "cuda/reduce.h"
#include "math/batch_norm.h"
#include "math/moments.h"
#include "math/relu.h"

namespace sn::cuda {
namespace {

struct Moments {
  double count, mean, spread;  // spread: sum of squared differences from the mean

  __device__ void merge(const Moments& other) {
    if (other.count == 0) return;
    math::merge_moments(count, mean, spread, other.count, other.mean, other.spread);
    count += other.count;
  }
};

// Differences are taken from the mean so far, from the first row at the start: no cancellation where the mean is far
// from zero. Reads x once: 1 T, the floor.
template <typename T, int channels>
struct FoldMoments {
  using State = Moments;
  static constexpr int width = channels;

  const T* x;

  template <typename States>
  __device__ void add(const Run& run, const States& states) const {
    T shift[width], sum[width] = {}, square[width] = {};
    const double before = states[0].count, rows = run.rows;  // alike in all channels, so that they share the divisions
    const Pack<T, width> first = load<width>(x + run.first);
    for (int i = 0; i < width; ++i) shift[i] = before > 0 ? T(states[i].mean) : first.values[i];
    SN_UNROLL(4)
    for (int row = 0; row < run.rows; ++row) {
      const Pack<T, width> pack = load<width>(x + run.index(row));
      for (int i = 0; i < width; ++i) {
        const T difference = pack.values[i] - shift[i];
        sum[i] += difference;
        square[i] += difference * difference;
      }
    }
    for (int i = 0; i < width; ++i) {
      const double offset = double(sum[i]) * (1 / rows);
      math::merge_moments(before, states[i].mean, states[i].spread, rows, double(shift[i]) + offset,
                          double(square[i]) - double(sum[i]) * offset);
      states[i].count = before + rows;
    }
  }
};

template <typename T>
struct SaveStatistics {
  T* mean;
  T* variance;
  T* running_mean;
  T* running_variance;
  double momentum;

  __device__ void operator()(std::int64_t channel, const Moments& moments) const {
    const math::BatchVariance batch = math::batch_variance(moments.spread, moments.count);
    mean[channel] = static_cast<T>(moments.mean);
    variance[channel] = static_cast<T>(batch.biased);
    move(running_mean[channel], moments.mean);
    move(running_variance[channel], batch.unbiased);
  }
  __device__ void move(T& running, double value) const {
    running = static_cast<T>(math::ema(double(running), value, momentum));
  }
};

// The arrays of a normalisation, and what a column takes of them.
template <typename T>
struct NormalizationArrays {
  const T* gamma;
  const T* beta;
  const T* mean;
  const T* variance;
  T eps;
};
template <typename T, int width>
struct ColumnNormalization {
  Pack<T, width> mean, scale, shift;

  __device__ ColumnNormalization(const NormalizationArrays<T>& of, std::int64_t column)
      : mean(load<width>(of.mean + column)), scale(load<width>(of.gamma + column)), shift(load<width>(of.beta + column)) {
    const Pack<T, width> variance = load<width>(of.variance + column);
    for (int i = 0; i < width; ++i) scale.values[i] *= math::inverse_deviation(variance.values[i], of.eps);
  }
  __device__ T normalized(int i, T x) const {
    return math::normalized(x, mean.values[i], scale.values[i], shift.values[i]);
  }
  // The gradient behind the ReLU, if any. Whether that was open follows from x, which is at hand, as y is not.
  template <bool relu>
  __device__ T passed(int i, T x, T dy) const {
    if constexpr (relu) return math::relu_gradient(normalized(i, x), dy);
    return dy;
  }
};

// y = (x - mean) gamma / deviation + beta, not below `floor`. Reads x once, writes y once: 2 T, the floor of the pass.
template <typename T, int width>
struct Normalize {
  const T* x;
  NormalizationArrays<T> normalization;
  T* y;
  T floor;

  __device__ void operator()(const ColumnThread& at) const {
    const ColumnNormalization<T, width> column(normalization, at.column);
    for (std::int64_t row = at.row; row < at.end; row += at.step) {
      Pack<T, width> pack = load<width>(x + at.index(row));
      for (int i = 0; i < width; ++i) {
        const T value = column.normalized(i, pack.values[i]);
        pack.values[i] = value < floor ? floor : value;
      }
      store(y + at.index(row), pack);
    }
  }
};

// Sums of g and of g (x - mean). Reads x and dy: 2 T, the floor of the pass.
template <typename T, bool relu, int channels>
struct FoldGradient {
  using State = Sums<2>;
  static constexpr int width = channels;

  const T* x;
  const T* dy;
  NormalizationArrays<T> normalization;

  template <typename States>
  __device__ void add(const Run& run, const States& states) const {
    T plain[width] = {}, weighted[width] = {};
    const ColumnNormalization<T, width> column(normalization, run.column);
    SN_UNROLL(2)
    for (int row = 0; row < run.rows; ++row) {
      const std::int64_t index = run.index(row);
      const Pack<T, width> gradient = load<width>(dy + index);
      const Pack<T, width> input = load<width>(x + index);
      for (int i = 0; i < width; ++i) {
        const T g = column.template passed<relu>(i, input.values[i], gradient.values[i]);
        plain[i] += g;
        weighted[i] += g * (input.values[i] - column.mean.values[i]);
      }
    }
    for (int i = 0; i < width; ++i) states[i].merge({{double(plain[i]), double(weighted[i])}});
  }
};

template <typename T>
struct SaveGradients {
  const T* gamma;
  const T* variance;
  T* dgamma;
  T* dbeta;
  T* slope;
  T* offset;
  double eps, count;

  __device__ void operator()(std::int64_t channel, const Sums<2>& sums) const {
    const math::BatchNormGradient gradient =
        math::batch_norm_gradient(double(gamma[channel]), math::inverse_deviation(double(variance[channel]), eps),
                                  sums.of[0], sums.of[1], count);
    dgamma[channel] = static_cast<T>(gradient.dgamma);
    dbeta[channel] = static_cast<T>(gradient.dbeta);
    slope[channel] = static_cast<T>(gradient.slope);
    offset[channel] = static_cast<T>(gradient.offset);
  }
};

// dx = scale g + slope (x - mean) + offset. Reads x and dy, writes dx: 3 T, the floor of the pass.
template <typename T, bool relu, int width>
struct Gradient {
  const T* x;
  const T* dy;
  NormalizationArrays<T> normalization;
  const T* slopes;
  const T* offsets;
  T* dx;

  __device__ void operator()(const ColumnThread& at) const {
    const ColumnNormalization<T, width> column(normalization, at.column);
    const Pack<T, width> slope = load<width>(slopes + at.column);
    const Pack<T, width> offset = load<width>(offsets + at.column);
    for (std::int64_t row = at.row; row < at.end; row += at.step) {
      const std::int64_t index = at.index(row);
      Pack<T, width> g = load<width>(dy + index);
      const Pack<T, width> input = load<width>(x + index);
      for (int i = 0; i < width; ++i) {
        const T passed = column.template passed<relu>(i, input.values[i], g.values[i]);
        g.values[i] = math::normalization_gradient(passed, input.values[i], column.mean.values[i],
                                                   column.scale.values[i], slope.values[i], offset.values[i]);
      }
      store(dx + index, g);
    }
  }
};

template <typename T>
NormalizationArrays<T> arrays(const Normalization& of) {
  return {of.gamma.read<T>(), of.beta.read<T>(), of.mean.read<T>(), of.variance.read<T>(), static_cast<T>(of.eps)};
}

template <typename Function>
void by_flag(bool flag, Function&& function) {
  if (flag) return function(std::true_type{});
  function(std::false_type{});
}

}  // namespace

void CudaBackend::batch_statistics(const Tensor& x, const BatchStatistics& statistics) {
  by_column(x, [&](auto tag, auto of_column) {
    using T = decltype(tag);
    using Fold = FoldMoments<T, decltype(of_column)::value>;
    const ColumnLayout layout = fold_layout(all_rows(x), Fold::width);
    const Tensor partials = scratch(DType::f64, partials_shape<Fold>(layout));
    fold_columns("batchNorm", stream_, layout, Fold{x.read<T>()},
                 SaveStatistics<T>{statistics.mean.write<T>(), statistics.variance.write<T>(),
                                   statistics.running_mean.write<T>(), statistics.running_variance.write<T>(),
                                   statistics.momentum},
                 partials);
  });
}

void CudaBackend::normalize(const Tensor& x, const Normalization& normalization, const Tensor& y) {
  by_column(x, [&](auto tag, auto of_column) {
    using T = decltype(tag);
    constexpr int width = decltype(of_column)::value;
    const T floor = normalization.relu ? T(0) : -T(HUGE_VAL);
    for_each_column("batchNorm", stream_, all_rows(x), width,
                    Normalize<T, width>{x.read<T>(), arrays<T>(normalization), y.write<T>(), floor});
  });
}

void CudaBackend::normalize_backward(const Tensor& x, const Normalization& normalization, const Tensor& dy,
                                     const Tensor& dx, const Tensor& dgamma, const Tensor& dbeta,
                                     const Tensor& slopes) {
  const std::int64_t channels = x.shape.back();
  by_column(x, [&](auto tag, auto of_column) {
    using T = decltype(tag);
    const SaveGradients<T> save{normalization.gamma.read<T>(),
                                normalization.variance.read<T>(),
                                dgamma.write<T>(),
                                dbeta.write<T>(),
                                slopes.write<T>(),
                                slopes.write<T>() + channels,
                                normalization.eps,
                                static_cast<double>(x.count() / channels)};
    by_flag(normalization.relu, [&](auto relu) {
      using Fold = FoldGradient<T, decltype(relu)::value, decltype(of_column)::value>;
      const ColumnLayout layout = fold_layout(all_rows(x), Fold::width);
      const Tensor partials = scratch(DType::f64, partials_shape<Fold>(layout));
      fold_columns("batchNormBackward", stream_, layout, Fold{x.read<T>(), dy.read<T>(), arrays<T>(normalization)},
                   save, partials);
    });
  });
  if (dx) normalized_gradient({x, normalization, slopes}, dy, dx);
}

void CudaBackend::normalized_gradient(const NormalizedGradient& of, const Tensor& dy, const Tensor& dx) {
  by_column(dy, [&](auto tag, auto of_column) {
    using T = decltype(tag);
    constexpr int width = decltype(of_column)::value;
    by_flag(of.normalization.relu, [&](auto relu) {
      const T* slopes = of.slopes.read<T>();
      for_each_column("batchNormBackward", stream_, all_rows(dy), width,
                      Gradient<T, decltype(relu)::value, width>{of.y.read<T>(), dy.read<T>(),
                                                                arrays<T>(of.normalization), slopes,
                                                                slopes + dy.shape.back(), dx.write<T>()});
    });
  });
}

}  // namespace sn::cuda

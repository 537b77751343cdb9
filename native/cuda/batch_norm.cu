// Epilogues of operators, of which batch normalisation is the largest part, in four passes over memory: moments and
// result forward, sums and gradient backward. What belongs to channels stays on the device.
#include <cmath>
#include <type_traits>

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
// from zero. Reads x once: 1 T.
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
      : mean(load<width>(of.mean + column)), scale(load<width>(of.gamma + column)),
        shift(load<width>(of.beta + column)) {
    const Pack<T, width> variance = load<width>(of.variance + column);
    for (int i = 0; i < width; ++i) scale.values[i] *= math::inverse_deviation(variance.values[i], of.eps);
  }
  __device__ T normalized(int i, T x) const {
    return math::normalized(x, mean.values[i], scale.values[i], shift.values[i]);
  }
  // The gradient behind the ReLU, if any.
  template <bool relu>
  __device__ T passed(int i, T x, T dy) const {
    if constexpr (relu) return math::relu_gradient(normalized(i, x), dy);
    return dy;
  }
};
// Where there is no normalisation.
struct ColumnIdentity {
  template <typename Arrays>
  __device__ ColumnIdentity(const Arrays&, std::int64_t) {}
  template <typename T>
  __device__ T normalized(int, T x) const {
    return x;
  }
};

// y = normalised x (+ residual), not below `floor`. Reads x and the residual once, writes y once: 2 T, with residual 3
// T.
template <typename T, bool with_normalization, bool with_residual, int width>
struct ApplyEpilogue {
  const T* x;
  NormalizationArrays<T> normalization;
  const T* residual;
  T* y;
  T floor;

  __device__ void operator()(const ColumnThread& at) const {
    const std::conditional_t<with_normalization, ColumnNormalization<T, width>, ColumnIdentity> column(normalization,
                                                                                                       at.column);
    for (std::int64_t row = at.row; row < at.end; row += at.step) {
      Pack<T, width> pack = load<width>(x + at.index(row));
      Pack<T, width> skipped{};
      if constexpr (with_residual) skipped = load<width>(residual + at.index(row));
      for (int i = 0; i < width; ++i) {
        T value = column.normalized(i, pack.values[i]);
        if constexpr (with_residual) value += skipped.values[i];
        pack.values[i] = value < floor ? floor : value;
      }
      store(y + at.index(row), pack);
    }
  }
};

// What decides whether a gradient passes: nothing, or the ReLU's argument. That follows from x, and from the residual
// where one was added. Both are at hand, as y is not.
enum class Mask { none, relu, relu_of_sum };

// Sums of g, which is dy where the ReLU was open, and of g (x - mean). Reads x and dy: 2 T. With a residual, which the
// mask reads, g is written for the pass that follows: 4 T.
template <typename T, Mask mask, int channels>
struct FoldGradient {
  using State = Sums<2>;
  static constexpr int width = channels;

  const T* x;
  const T* dy;
  const T* residual;
  T* passed;  // g
  NormalizationArrays<T> normalization;

  template <typename States>
  __device__ void add(const Run& run, const States& states) const {
    T plain[width] = {}, weighted[width] = {};
    const ColumnNormalization<T, width> column(normalization, run.column);
    SN_UNROLL(mask == Mask::relu_of_sum ? 1 : 2)
    for (int row = 0; row < run.rows; ++row) {
      const std::int64_t index = run.index(row);
      Pack<T, width> g = load<width>(dy + index);
      const Pack<T, width> input = load<width>(x + index);
      if constexpr (mask == Mask::relu_of_sum) {
        const Pack<T, width> skipped = load<width>(residual + index);
        for (int i = 0; i < width; ++i) {
          g.values[i] = math::relu_gradient(column.normalized(i, input.values[i]) + skipped.values[i], g.values[i]);
        }
        store(passed + index, g);
      }
      for (int i = 0; i < width; ++i) {
        const T value = column.template passed<mask == Mask::relu>(i, input.values[i], g.values[i]);
        plain[i] += value;
        weighted[i] += value * (input.values[i] - column.mean.values[i]);
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

// dx = scale g + slope (x - mean) + offset. Reads x and dy, writes dx: 3 T.
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
template <Mask mask>
using MaskTag = std::integral_constant<Mask, mask>;
template <typename Function>
void by_mask(Mask mask, Function&& function) {
  switch (mask) {
    case Mask::none: return function(MaskTag<Mask::none>{});
    case Mask::relu: return function(MaskTag<Mask::relu>{});
    case Mask::relu_of_sum: return function(MaskTag<Mask::relu_of_sum>{});
  }
}

void take_statistics(CudaBackend& device, const Tensor& x, const BatchStatistics& statistics) {
  by_column(x, [&](auto tag, auto of_column) {
    using T = decltype(tag);
    using Fold = FoldMoments<T, decltype(of_column)::value>;
    const ColumnLayout layout = fold_layout(all_rows(x), Fold::width);
    const Tensor partials = device.scratch(DType::f64, partials_shape<Fold>(layout));
    fold_columns("batchNorm", device.stream(), layout, Fold{x.read<T>()},
                 SaveStatistics<T>{statistics.mean.write<T>(), statistics.variance.write<T>(),
                                   statistics.running_mean.write<T>(), statistics.running_variance.write<T>(),
                                   statistics.momentum},
                 partials);
  });
}

// Writes dgamma, dbeta, the slopes [2, C] of dx: by x, and its offset; and, with a mask of a sum, the gradient passed
// on.
void fold_gradients(CudaBackend& device, const Tensor& dy, const EpilogueGradient& epilogue, Mask mask,
                    const Tensor& passed, const Tensor& slopes) {
  const Tensor& x = epilogue.y;
  const Normalization& normalization = epilogue.normalization;
  const std::int64_t channels = x.shape.back();
  by_column(x, [&](auto tag, auto of_column) {
    using T = decltype(tag);
    const SaveGradients<T> save{normalization.gamma.read<T>(),
                                normalization.variance.read<T>(),
                                epilogue.dgamma.write<T>(),
                                epilogue.dbeta.write<T>(),
                                slopes.write<T>(),
                                slopes.write<T>() + channels,
                                normalization.eps,
                                static_cast<double>(x.count() / channels)};
    by_mask(mask, [&](auto chosen) {
      using Fold = FoldGradient<T, decltype(chosen)::value, decltype(of_column)::value>;
      const ColumnLayout layout = fold_layout(all_rows(x), Fold::width);
      const Tensor partials = device.scratch(DType::f64, partials_shape<Fold>(layout));
      const Fold fold{x.read<T>(), dy.read<T>(), epilogue.residual.read<T>(), passed.write<T>(),
                      arrays<T>(normalization)};
      fold_columns("batchNormBackward", device.stream(), layout, fold, save, partials);
    });
  });
}

}  // namespace

void CudaBackend::batch_norm_forward(const Tensor& x, const Tensor& y, const Epilogue& epilogue) {
  if (epilogue.statistics) take_statistics(*this, x, *epilogue.statistics);
  if (!epilogue) return;
  if (!epilogue.normalization && !epilogue.residual) return relu_forward(x, y);
  by_column(x, [&](auto tag, auto of_column) {
    using T = decltype(tag);
    constexpr int width = decltype(of_column)::value;
    const T floor = epilogue.relu ? T(0) : -T(HUGE_VAL);
    const T* residual = epilogue.residual.read<T>();
    const auto apply = [&](auto function) { for_each_column("batchNorm", stream_, all_rows(x), width, function); };
    if (!epilogue.normalization) {
      return apply(ApplyEpilogue<T, false, true, width>{x.read<T>(), {}, residual, y.write<T>(), floor});
    }
    by_flag(static_cast<bool>(epilogue.residual), [&](auto with_residual) {
      apply(ApplyEpilogue<T, true, decltype(with_residual)::value, width>{
          x.read<T>(), arrays<T>(*epilogue.normalization), residual, y.write<T>(), floor});
    });
  });
}

void CudaBackend::batch_norm_backward(const Tensor& dy, const Tensor& dx, const EpilogueGradient& epilogue) {
  const Tensor slopes = scratch(dy.dtype, {2, dy.shape.back()});
  const bool masks_sum = epilogue.relu && epilogue.residual;
  const Mask mask = masks_sum ? Mask::relu_of_sum : epilogue.relu ? Mask::relu : Mask::none;
  // Behind the mask of a sum lies the residual's gradient; dx can hold it where nobody asks for it.
  const Tensor passed = !masks_sum ? Tensor{} : epilogue.dresidual ? epilogue.dresidual : dx;
  fold_gradients(*this, dy, epilogue, mask, passed, slopes);
  if (epilogue.dresidual && !masks_sum) copy(dy, epilogue.dresidual);
  const Tensor& g = masks_sum ? passed : dy;
  by_column(dy, [&](auto tag, auto of_column) {
    using T = decltype(tag);
    constexpr int width = decltype(of_column)::value;
    by_flag(mask == Mask::relu, [&](auto relu) {
      for_each_column("batchNormBackward", stream_, all_rows(dy), width,
                      Gradient<T, decltype(relu)::value, width>{epilogue.y.read<T>(), g.read<T>(),
                                                                arrays<T>(epilogue.normalization), slopes.read<T>(),
                                                                slopes.read<T>() + dy.shape.back(), dx.write<T>()});
    });
  });
}

}  // namespace sn::cuda

// A scale and a shift per channel.
#include "cuda/backend.h"
#include "cuda/reduce.h"

namespace sn::cuda {
namespace {

// Coefficients of a column, `absent` where there are none.
template <int width, typename T>
__device__ __forceinline__ Pack<T, width> coefficients(const T* values, std::int64_t column, T absent) {
  if (values != nullptr) return load<width>(values + column);
  Pack<T, width> pack;
  for (int i = 0; i < width; ++i) pack.values[i] = absent;
  return pack;
}

// Reads x once, writes y once: 2 T.
template <typename T, int width>
struct Affine {
  const T* x;
  const T* scale;
  const T* shift;
  T* y;
  __device__ void operator()(const ColumnThread& at) const {
    const auto factor = coefficients<width>(scale, at.column, T(1));
    const auto offset = coefficients<width>(shift, at.column, T(0));
    for (std::int64_t row = at.row; row < at.end; row += at.step) {
      Pack<T, width> pack = load<width>(x + at.index(row));
      for (int i = 0; i < width; ++i) pack.values[i] = pack.values[i] * factor.values[i] + offset.values[i];
      store(y + at.index(row), pack);
    }
  }
};

// sum(dy), sum(dy x) and dx in one pass. Reads dy once and, for dscale, x; writes dx where it is wanted: 3 T for all
// three.
template <typename T, int channels>
struct AffineBackward {
  using State = Sums<2>;
  static constexpr int width = channels;

  const T* x;  // null without dscale
  const T* scale;
  const T* dy;
  T* dx;  // may be null

  template <typename States>
  __device__ void add(const Run& run, const States& states) const {
    T plain[width] = {}, weighted[width] = {};
    const auto factor = coefficients<width>(scale, run.column, T(1));
    SN_UNROLL(2)
    for (int row = 0; row < run.rows; ++row) {
      const std::int64_t index = run.index(row);
      Pack<T, width> gradient = load<width>(dy + index);
      const Pack<T, width> input = x != nullptr ? load<width>(x + index) : Pack<T, width>{};
      for (int i = 0; i < width; ++i) {
        plain[i] += gradient.values[i];
        weighted[i] += gradient.values[i] * input.values[i];
        gradient.values[i] *= factor.values[i];
      }
      if (dx != nullptr) store(dx + index, gradient);
    }
    for (int i = 0; i < width; ++i) states[i].merge({{double(plain[i]), double(weighted[i])}});
  }
};

template <typename T>
struct SaveCoefficientGradients {
  T* dscale;
  T* dshift;
  __device__ void operator()(std::int64_t channel, const Sums<2>& sums) const {
    if (dshift != nullptr) dshift[channel] = static_cast<T>(sums.of[0]);
    if (dscale != nullptr) dscale[channel] = static_cast<T>(sums.of[1]);
  }
};

}  // namespace

void CudaBackend::affine_forward(const Tensor& x, const OptionalTensor& scale, const OptionalTensor& shift,
                                 const Tensor& y) {
  by_column(x, [&](auto tag, auto of_column) {
    using T = decltype(tag);
    constexpr int width = decltype(of_column)::value;
    for_each_column("affine", stream_, all_rows(x), width,
                    Affine<T, width>{x.read<T>(), scale.read<T>(), shift.read<T>(), y.write<T>()});
  });
}

void CudaBackend::affine_backward(const Tensor& x, const OptionalTensor& scale, const Tensor& dy,
                                  const OptionalTensor& dx, const OptionalTensor& dscale,
                                  const OptionalTensor& dshift) {
  if (!dscale && !dshift) {
    if (dx) affine_forward(dy, scale, {}, dx);
    return;
  }
  by_column(x, [&](auto tag, auto of_column) {
    using T = decltype(tag);
    using Fold = AffineBackward<T, decltype(of_column)::value>;
    const ColumnLayout layout = fold_layout(all_rows(x), Fold::width);
    const Tensor partials = scratch(DType::f64, partials_shape<Fold>(layout));
    fold_columns("affineBackward", stream_, layout,
                 Fold{dscale ? x.read<T>() : nullptr, scale.read<T>(), dy.read<T>(), dx.write<T>()},
                 SaveCoefficientGradients<T>{dscale.write<T>(), dshift.write<T>()}, partials);
  });
}

}  // namespace sn::cuda

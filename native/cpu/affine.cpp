// A scale and a shift per channel, by the loops of batch normalisation.
#include <omp.h>

#include <algorithm>

#include "cpu/backend.h"
#include "cpu/batch_norm.h"
#include "core/dispatch.h"

namespace sn::cpu {
namespace {

// A coefficient of the channels that may be absent.
template <typename T>
void fill(const ChannelPack& columns, const Tensor& coefficient, T absent, T* row) {
  if (coefficient) {
    std::copy_n(coefficient.read<T>(), columns.channels, row);
  } else {
    std::fill_n(row, columns.channels, absent);
  }
}

template <typename T>
ChannelCoefficients<T> coefficients_of(const ChannelPack& columns, const Tensor& scale, const Tensor& shift) {
  return {columns, false, [&](T*, T* scales, T* shifts) {
            fill(columns, scale, T(1), scales);
            fill(columns, shift, T(0), shifts);
          }};
}

template <typename T>
void transform(const BatchNormKernels<T>& kernels, const Tensor& x, const Tensor& scale, const Tensor& shift,
               const Tensor& y) {
  const ChannelPack columns = channel_pack_of(x);
  const auto coefficients = coefficients_of<T>(columns, scale, shift);
  kernels.normalize(x.read<T>(), coefficients.view(), y.write<T>(), columns.rows, columns.width);
}

template <typename T>
void write_sums(const ChannelPack& columns, const double* row, const Tensor& out) {
  if (!out) return;
  T* values = out.write<T>();
  for (std::int64_t c = 0; c < columns.channels; ++c) values[c] = static_cast<T>(sum_of_copies(columns, row, c));
}

}  // namespace

void CpuBackend::affine_forward(const Tensor& x, const Tensor& scale, const Tensor& shift, const Tensor& y) {
  by_dtype(x.dtype, [&](auto tag) { transform(kernels_.of<decltype(tag)>().batch_norm, x, scale, shift, y); });
}

void CpuBackend::affine_backward(const Tensor& x, const Tensor& scale, const Tensor& dy, const Tensor& dx,
                                 const Tensor& dscale, const Tensor& dshift) {
  by_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    const auto& kernels = kernels_.of<T>().batch_norm;
    if (dscale || dshift) {
      const ChannelPack columns = channel_pack_of(x);
      const auto none = coefficients_of<T>(columns, {}, {});
      const Tensor workspace = scratch(DType::f64, {omp_get_max_threads(), 2, columns.width});
      double* sums = workspace.write<double>();
      kernels.gradient_sums(x.read<T>(), none.view(), dy.read<T>(), sums, columns.rows, columns.width);
      write_sums<T>(columns, sums, dshift);
      write_sums<T>(columns, sums + columns.width, dscale);
    }
    if (dx) transform(kernels, dy, scale, Tensor{}, dx);
  });
}

}  // namespace sn::cpu

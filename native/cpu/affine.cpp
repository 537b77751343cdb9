// A scale and a shift per channel, by the kernels of batch normalisation.
#include <omp.h>

#include <algorithm>

#include "core/dispatch.h"
#include "cpu/backend.h"
#include "cpu/batch_norm.h"

namespace sn::cpu {
namespace {

// A coefficient of the channels that may be absent.
template <typename T>
void fill(const ChannelPack& pack, const OptionalTensor& coefficient, T absent, T* row) {
  if (coefficient) {
    std::copy_n(coefficient.read<T>(), pack.channels, row);
  } else {
    std::fill_n(row, pack.channels, absent);
  }
}

template <typename T>
ChannelCoefficients<T> coefficients_of(const ChannelPack& pack, const OptionalTensor& scale,
                                       const OptionalTensor& shift) {
  return {pack, false, [&](T*, T* scales, T* shifts) {
            fill(pack, scale, T(1), scales);
            fill(pack, shift, T(0), shifts);
          }};
}

template <typename T>
void transform(const BatchNormKernels<T>& kernels, const Tensor& x, const OptionalTensor& scale,
               const OptionalTensor& shift, const Tensor& y) {
  const ChannelPack pack = channel_pack_of(x);
  const auto coefficients = coefficients_of<T>(pack, scale, shift);
  kernels.normalize(x.read<T>(), coefficients.view(), nullptr, y.write<T>(), pack.rows, pack.width);
}

template <typename T>
void write_sums(const ChannelPack& pack, const double* row, const OptionalTensor& out) {
  if (!out) return;
  T* values = out.write<T>();
  for (std::int64_t c = 0; c < pack.channels; ++c) values[c] = static_cast<T>(sum_of_copies(pack, row, c));
}

}  // namespace

void CpuBackend::affine_forward(const Tensor& x, const OptionalTensor& scale, const OptionalTensor& shift,
                                const Tensor& y) {
  by_dtype(x.dtype, [&](auto tag) { transform(kernels_.of<decltype(tag)>().batch_norm, x, scale, shift, y); });
}

void CpuBackend::affine_backward(const Tensor& x, const OptionalTensor& scale, const Tensor& dy,
                                 const OptionalTensor& dx, const OptionalTensor& dscale, const OptionalTensor& dshift) {
  by_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    const auto& kernels = kernels_.of<T>().batch_norm;
    if (dscale || dshift) {
      const ChannelPack pack = channel_pack_of(x);
      const auto none = coefficients_of<T>(pack, {}, {});
      const Tensor workspace = scratch(DType::f64, {omp_get_max_threads(), 2, pack.width});
      double* sums = workspace.write<double>();
      kernels.gradient_sums(x.read<T>(), none.view(), nullptr, dy.read<T>(), sums, pack.rows, pack.width);
      write_sums<T>(pack, sums, dshift);
      write_sums<T>(pack, sums + pack.width, dscale);
    }
    if (dx) transform(kernels, dy, scale, {}, dx);
  });
}

}  // namespace sn::cpu

#include <cstring>

#include "core/dispatch.h"
#include "cpu/backend.h"

namespace sn::cpu {

void CpuBackend::relu_forward(const Tensor& x, const Tensor& y) {
  by_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    kernels_.of<T>().element.relu(x.read<T>(), y.write<T>(), x.count());
  });
}

void CpuBackend::relu_backward(const Tensor& y, const Tensor& dy, const Tensor& dx) {
  by_dtype(y.dtype, [&](auto tag) {
    using T = decltype(tag);
    kernels_.of<T>().element.relu_backward(y.read<T>(), dy.read<T>(), dx.write<T>(), y.count());
  });
}

void CpuBackend::add(const Tensor& a, const Tensor& b, const Tensor& out) {
  by_dtype(a.dtype, [&](auto tag) {
    using T = decltype(tag);
    kernels_.of<T>().element.add(a.read<T>(), b.read<T>(), out.write<T>(), a.count());
  });
}

void CpuBackend::scale(const Tensor& x, double factor, const Tensor& out) {
  by_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    kernels_.of<T>().element.scale(x.read<T>(), static_cast<T>(factor), out.write<T>(), x.count());
  });
}

void CpuBackend::scale_by(const Tensor& x, const Tensor& factor, const Tensor& out) {
  by_dtype(factor.dtype, [&](auto tag) { scale(x, double(*factor.read<decltype(tag)>()), out); });
}

void CpuBackend::sum(const Tensor& x, const Tensor& out) {
  by_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    fill(kernels_.of<T>().element.sum(x.read<T>(), x.count()), {out});
  });
}

void CpuBackend::positive_forward(const Tensor& p, const Tensor& k, Positive kind) {
  by_dtype(p.dtype, [&](auto tag) {
    using T = decltype(tag);
    const T* free = p.read<T>();
    T* positive = k.write<T>();
    for (std::int64_t i = 0; i < p.count(); ++i) positive[i] = math::positive_value(free[i], kind);
  });
}

void CpuBackend::positive_backward(const Tensor& p, const Tensor& dk, const Tensor& dp, Positive kind) {
  by_dtype(p.dtype, [&](auto tag) {
    using T = decltype(tag);
    const T* free = p.read<T>();
    const T* gradient = dk.read<T>();
    T* free_gradient = dp.write<T>();
    for (std::int64_t i = 0; i < p.count(); ++i) free_gradient[i] = gradient[i] * math::positive_slope(free[i], kind);
  });
}

void CpuBackend::copy_channels(const Tensor& from, std::int64_t from_channel, const Tensor& to, std::int64_t to_channel,
                               std::int64_t channels) {
  if (channels == 0) return;
  const std::size_t element = size_of(from.dtype);
  const std::size_t from_stride = static_cast<std::size_t>(from.shape.back()) * element;
  const std::size_t to_stride = static_cast<std::size_t>(to.shape.back()) * element;
  const std::size_t length = static_cast<std::size_t>(channels) * element;
  const auto* source = from.read<std::uint8_t>() + static_cast<std::size_t>(from_channel) * element;
  auto* target = to.write<std::uint8_t>() + static_cast<std::size_t>(to_channel) * element;
  const auto pixels = static_cast<std::size_t>(from.count() / from.shape.back());
#pragma omp parallel for schedule(static) if (pixels * length > 131072)
  for (std::size_t pixel = 0; pixel < pixels; ++pixel) {
    std::memcpy(target + pixel * to_stride, source + pixel * from_stride, length);
  }
}

void CpuBackend::dropout(const Tensor& x, const Tensor& y, double probability, std::uint64_t seed) {
  by_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    kernels_.of<T>().element.dropout(x.read<T>(), y.write<T>(), probability, seed, x.count());
  });
}

}  // namespace sn::cpu

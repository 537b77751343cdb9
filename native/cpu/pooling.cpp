#include "core/dispatch.h"
#include "cpu/backend.h"

namespace sn::cpu {
namespace {

// `input` and `output` may be gradients: only their shapes count.
PoolExtents extents(const Tensor& input, const Tensor& output, const Window& window) {
  const auto side = [](std::int64_t extent) { return static_cast<int>(extent); };
  return {input.shape[0],        input.shape[3], side(input.shape[1]), side(input.shape[2]), side(output.shape[1]),
          side(output.shape[2]), window};
}

// The window position of each maximum fits a byte unless the window is huge.
DType index_dtype(const Window& window) { return window.kernel_h * window.kernel_w <= 256 ? DType::u8 : DType::i32; }

template <typename Function>
void by_index(DType dtype, Function&& function) {
  if (dtype == DType::u8) return function(std::uint8_t{});
  function(std::int32_t{});
}

template <typename T, typename Index>
const MaxPoolKernels<T, Index>& max_kernels(const PoolKernels<T>& kernels) {
  if constexpr (sizeof(Index) == 1) {
    return kernels.max;
  } else {
    return kernels.max_wide;
  }
}

Window whole_image(const Tensor& x) {
  return {static_cast<int>(x.shape[1]), static_cast<int>(x.shape[2]), 1, 1, 0, 0, 1, 1};
}

// [N, C] as [N, 1, 1, C]
Tensor as_pixel(Tensor features) {
  features.shape = {features.shape[0], 1, 1, features.shape[1]};
  return features;
}

}  // namespace

Tensor CpuBackend::max_pool2d_forward(const Tensor& x, const Tensor& y, const Window& window, bool training) {
  const DType dtype = index_dtype(window);
  const Tensor index = training ? scratch(dtype, y.shape) : Tensor{};
  by_dtype(x.dtype, [&](auto tag) {
    by_index(dtype, [&](auto index_tag) {
      using T = decltype(tag);
      using Index = decltype(index_tag);
      max_kernels<T, Index>(kernels_.of<T>().element.pool)
          .forward(x.read<T>(), y.write<T>(), index.write<Index>(), extents(x, y, window));
    });
  });
  return index;
}

void CpuBackend::max_pool2d_backward(const Tensor& dy, const AnyTensor& saved, const Tensor& dx, const Window& window) {
  by_dtype(dy.dtype, [&](auto tag) {
    by_index(saved.dtype, [&](auto index_tag) {
      using T = decltype(tag);
      using Index = decltype(index_tag);
      max_kernels<T, Index>(kernels_.of<T>().element.pool)
          .backward(dy.read<T>(), saved.read<Index>(), dx.write<T>(), extents(dx, dy, window));
    });
  });
}

void CpuBackend::avg_pool2d_forward(const Tensor& x, const Tensor& y, const Window& window, bool count_padding) {
  by_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    kernels_.of<T>().element.pool.average_forward(x.read<T>(), y.write<T>(), count_padding, extents(x, y, window));
  });
}

void CpuBackend::avg_pool2d_backward(const Tensor& dy, const Tensor& dx, const Window& window, bool count_padding) {
  by_dtype(dy.dtype, [&](auto tag) {
    using T = decltype(tag);
    kernels_.of<T>().element.pool.average_backward(dy.read<T>(), dx.write<T>(), count_padding, extents(dx, dy, window));
  });
}

void CpuBackend::global_avg_pool2d_forward(const Tensor& x, const Tensor& y) {
  avg_pool2d_forward(x, as_pixel(y), whole_image(x), true);
}

void CpuBackend::global_avg_pool2d_backward(const Tensor& dy, const Tensor& dx) {
  avg_pool2d_backward(as_pixel(dy), dx, whole_image(dx), true);
}

}  // namespace sn::cpu

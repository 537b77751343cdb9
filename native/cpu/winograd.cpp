#include "cpu/winograd.h"

#include "cpu/filter_cache.h"

namespace sn::cpu {
namespace {

WinogradExtents extents_of(const ConvolutionShape& shape) {
  const auto number = [](std::int64_t value) { return static_cast<int>(value); };
  return {shape.images,           number(shape.in_h),       number(shape.in_w),
          number(shape.channels), number(shape.out_h),      number(shape.out_w),
          number(shape.filters),  shape.geometry.padding_h, shape.geometry.padding_w};
}

// The gradient of the input is a convolution of the output's gradient with the filters rotated by 180 degrees.
WinogradExtents of_backward_data(const WinogradExtents& e) {
  return {e.images, e.out_h, e.out_w, e.filters, e.in_h, e.in_w, e.channels, 2 - e.padding_h, 2 - e.padding_w};
}

}  // namespace

bool WinogradConvolution::suits(const ConvolutionShape& shape) {
  const ConvGeometry& g = shape.geometry;
  const bool possible = g.kernel_h == 3 && g.kernel_w == 3 && g.stride_h == 1 && g.stride_w == 1 && g.dilation_h == 1 &&
                        g.dilation_w == 1 && g.padding_h <= 2 && g.padding_w <= 2 && g.groups == 1;
  if (!possible) return false;
  // The cost of a pass in units of one multiply-add; that of the transforms was measured on two cores with AVX2.
  constexpr double transform_of_number = 32, transform_of_filter = 2000;
  const auto number = [](std::int64_t value) { return static_cast<double>(value); };
  const auto whole = [&](std::int64_t value, std::int64_t step) { return number((value + step - 1) / step * step); };
  const double pairs = number(shape.channels * shape.filters);
  const double pixels = number(shape.images * shape.out_h * shape.out_w);
  const double in_tiles = number(shape.images) * whole(shape.out_h, 4) * whole(shape.out_w, 4);
  const double products = 9.0 / 4 * whole(shape.channels, winograd_panel) * whole(shape.filters, winograd_panel);
  const double transforms = transform_of_number * number(shape.channels + shape.filters);
  return in_tiles * (products + transforms) + transform_of_filter * pairs < 9 * pixels * pairs;
}

WinogradConvolution::WinogradConvolution(const ConvolutionShape& shape, Backend& backend,
                                         const WinogradKernels& kernels)
    : forward_(extents_of(shape)), backward_(of_backward_data(forward_)), backend_(backend), kernels_(kernels) {}

Tensor WinogradConvolution::workspace(std::int64_t numbers) const {
  return {backend_.allocate(static_cast<std::size_t>(numbers) * sizeof(float)), DType::f32, {numbers}};
}

const float* WinogradConvolution::transformed(const Tensor& w, bool back) const {
  auto& [filters, of_back, revision] = w.derived<FilterCache>().winograd;
  if (filters && of_back == back && revision == w.storage->revision()) return filters.read<float>();
  const WinogradExtents& e = back ? backward_ : forward_;
  filters = workspace(std::int64_t{winograd_planes * winograd_panel} * e.channels * winograd_panels(e.filters));
  kernels_.transform_filters(w.read<float>(), filters.write<float>(), forward_.filters, forward_.channels, back);
  of_back = back;
  revision = w.storage->revision();
  return filters.read<float>();
}

void WinogradConvolution::convolve(const float* from, const float* filters, const float* bias, float* to,
                                   const WinogradExtents& extents) const {
  const Tensor tiles = workspace(kernels_.forward_workspace(extents));
  kernels_.forward(from, filters, bias, to, extents, tiles.write<float>());
}

void WinogradConvolution::forward(const float* x, const Tensor& w, const float* bias, float* y) {
  convolve(x, transformed(w, false), bias, y, forward_);
}

void WinogradConvolution::backward_data(const float* dy, const Tensor& w, float* dx) {
  convolve(dy, transformed(w, true), nullptr, dx, backward_);
}

void WinogradConvolution::backward_weights(const float* x, const float* dy, float* dw) {
  const Tensor tiles = workspace(kernels_.backward_weights_workspace(forward_));
  kernels_.backward_weights(x, dy, dw, forward_, tiles.write<float>());
}

}  // namespace sn::cpu

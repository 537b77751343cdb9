#include "cpu/conv2d.h"

#include <algorithm>
#include <vector>

#include "cpu/backend.h"
#include "cpu/batch_norm.h"
#include "cpu/convolution.h"
#include "cpu/dnnl.h"

namespace sn::cpu {
namespace {

// Direct loops in float64: the reference that gradient checks run on. Not for speed.

// Below this many multiply-adds waking the threads costs more than they save.
constexpr std::int64_t parallel_threshold = 1 << 20;

struct Extents {
  std::int64_t images, in_h, in_w, channels, out_h, out_w, filters;
  Extents(const Tensor& x, const Tensor& y)
      : images(x.shape[0]), in_h(x.shape[1]), in_w(x.shape[2]), channels(x.shape[3]), out_h(y.shape[1]),
        out_w(y.shape[2]), filters(y.shape[3]) {}
};

// Calls body(index in x, index in w, index in y) for every product of the convolution of image n.
template <typename Body>
void for_each_product(std::int64_t n, const Extents& e, const ConvGeometry& g, Body&& body) {
  const std::int64_t width = e.channels / g.groups;
  const std::int64_t filters_per_group = e.filters / g.groups;
  for (std::int64_t oh = 0; oh < e.out_h; ++oh)
    for (std::int64_t ow = 0; ow < e.out_w; ++ow)
      for (std::int64_t o = 0; o < e.filters; ++o)
        for (std::int64_t kh = 0; kh < g.kernel_h; ++kh)
          for (std::int64_t kw = 0; kw < g.kernel_w; ++kw) {
            const std::int64_t ih = oh * g.stride_h - g.padding_h + kh * g.dilation_h;
            const std::int64_t iw = ow * g.stride_w - g.padding_w + kw * g.dilation_w;
            if (ih < 0 || ih >= e.in_h || iw < 0 || iw >= e.in_w) continue;
            const std::int64_t x = ((n * e.in_h + ih) * e.in_w + iw) * e.channels + o / filters_per_group * width;
            const std::int64_t w = ((o * g.kernel_h + kh) * g.kernel_w + kw) * width;
            const std::int64_t y = ((n * e.out_h + oh) * e.out_w + ow) * e.filters + o;
            for (std::int64_t c = 0; c < width; ++c) body(x + c, w + c, y);
          }
}

}  // namespace

void reference_conv_forward(const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& y,
                            const ConvGeometry& geometry) {
  const Extents e(x, y);
  const double *input = x.read<double>(), *filters = w.read<double>(), *offset = bias.read<double>();
  double* output = y.write<double>();
  for (std::int64_t i = 0; i < y.count(); ++i) output[i] = offset ? offset[i % e.filters] : 0.0;
#pragma omp parallel for schedule(static) if (e.images > 1 && y.count() * w.count() / e.filters > parallel_threshold)
  for (std::int64_t n = 0; n < e.images; ++n) {
    for_each_product(n, e, geometry, [&](auto i, auto j, auto k) { output[k] += input[i] * filters[j]; });
  }
}

void reference_conv_backward_data(const Tensor& dy, const Tensor& w, const Tensor& dx, const ConvGeometry& geometry) {
  const Extents e(dx, dy);
  const double *gradient = dy.read<double>(), *filters = w.read<double>();
  double* output = dx.write<double>();
  std::fill_n(output, dx.count(), 0.0);
#pragma omp parallel for schedule(static) if (e.images > 1 && dy.count() * w.count() / e.filters > parallel_threshold)
  for (std::int64_t n = 0; n < e.images; ++n) {
    for_each_product(n, e, geometry, [&](auto i, auto j, auto k) { output[i] += gradient[k] * filters[j]; });
  }
}

void reference_conv_backward_weights(const Tensor& x, const Tensor& dy, const Tensor& dw, const Tensor& dbias,
                                     const ConvGeometry& geometry) {
  const Extents e(x, dy);
  const double *input = x.read<double>(), *gradient = dy.read<double>();
  double *output = dw.write<double>(), *offset = dbias.write<double>();
  std::fill_n(output, dw.count(), 0.0);
  for (std::int64_t n = 0; n < e.images; ++n) {
    for_each_product(n, e, geometry, [&](auto i, auto j, auto k) { output[j] += gradient[k] * input[i]; });
  }
  if (!offset) return;
  std::fill_n(offset, dbias.count(), 0.0);
  for (std::int64_t i = 0; i < dy.count(); ++i) offset[i % e.filters] += gradient[i];
}

namespace {

// body(images, offset in x, offset in y) for every chunk of the batch.
template <typename Body>
void for_each_chunk(const Tensor& x, const Tensor& y, std::int64_t chunk, Body&& body) {
  const std::int64_t images = x.shape[0];
  for (std::int64_t first = 0; first < images; first += chunk) {
    body(std::min(chunk, images - first), first * (x.count() / images), first * (y.count() / images));
  }
}

}  // namespace

void CpuBackend::conv2d_forward(const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& y,
                                const ConvGeometry& geometry, const Normalization& of_y) {
  if (x.dtype == DType::f64) {
    reference_conv_forward(x, w, bias, y, geometry);
    if (of_y) normalize(y, of_y, y);
    return;
  }
  const float *input = x.read<float>(), *offset = bias.read<float>();
  float* output = y.write<float>();
  for_each_chunk(x, y, images_per_chunk(x, y), [&](std::int64_t images, std::int64_t from, std::int64_t to) {
    convolutions_->of(ConvolutionShape::of(images, x, w, y, geometry, static_cast<bool>(bias)))
        .forward(input + from, w, offset, output + to);
    if (!of_y) return;
    normalize_pixels(kernels_.f32.batch_norm, output + to, of_y, output + to, images * y.shape[1] * y.shape[2]);
  });
}

void CpuBackend::conv2d_backward_data(const Tensor& dy, const Tensor& w, const Tensor& dx,
                                      const ConvGeometry& geometry) {
  if (dy.dtype == DType::f64) return reference_conv_backward_data(dy, w, dx, geometry);
  const float* gradient = dy.read<float>();
  float* output = dx.write<float>();
  for_each_chunk(dx, dy, images_per_chunk(dx, dy), [&](std::int64_t images, std::int64_t to, std::int64_t from) {
    convolutions_->of(ConvolutionShape::of(images, dx, w, dy, geometry))
        .backward_data(gradient + from, w, output + to);
  });
}

void CpuBackend::conv2d_backward_weights(const Tensor& x, const Tensor& dy, const Tensor& dw, const Tensor& dbias,
                                         const ConvGeometry& geometry) {
  if (x.dtype == DType::f64) return reference_conv_backward_weights(x, dy, dw, dbias, geometry);
  const float *input = x.read<float>(), *gradient = dy.read<float>();
  const std::int64_t chunk = adds_filter_gradients(dw) ? images_per_chunk(x, dy) : x.shape[0];
  const Tensor more_dw = chunk < x.shape[0] ? scratch(dw.dtype, dw.shape) : Tensor{};
  for_each_chunk(x, dy, chunk, [&](std::int64_t images, std::int64_t from, std::int64_t to) {
    const Tensor& chunk_dw = from == 0 ? dw : more_dw;
    convolutions_->of(ConvolutionShape::of(images, x, dw, dy, geometry))
        .backward_weights(input + from, gradient + to, chunk_dw.write<float>());
    if (from > 0) add(dw, more_dw, dw);
  });
  // The shift of a channel has the same gradient.
  if (dbias) affine_backward(dy, {}, dy, {}, {}, dbias);
}

std::vector<double> CpuBackend::benchmark_convolution(const Tensor& x, const Tensor& w, const Tensor& y,
                                                      const ConvGeometry& geometry, int repeats) {
  constexpr auto algorithm = DnnlConvolution::Algorithm::direct;
  DnnlConvolution direct(ConvolutionShape::of(x.shape[0], x, w, y, geometry), *dnnl_, algorithm);
  return direct.benchmark(x.read<float>(), w, y.write<float>(), repeats);
}

}  // namespace sn::cpu

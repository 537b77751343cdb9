#include "cpu/conv2d.h"

#include <algorithm>
#include <vector>

#include "cpu/backend.h"
#include "cpu/batch_norm.h"
#include "cpu/convolution.h"

namespace sn::cpu {
namespace {

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

void reference_conv_forward(const Tensor& x, const Tensor& w, const OptionalTensor& bias, const Tensor& y,
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

void reference_conv_backward_weights(const Tensor& x, const Tensor& dy, const Tensor& dw, const OptionalTensor& dbias,
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

// Calls body(images, first image) for every chunk of the batch.
template <typename Body>
void for_each_chunk(std::int64_t images, std::int64_t chunk, Body&& body) {
  for (std::int64_t first = 0; first < images; first += chunk) body(std::min(chunk, images - first), first);
}

std::int64_t image_size(const Tensor& x) { return x.count() / x.shape[0]; }

}  // namespace

void CpuBackend::conv2d_forward(const Tensor& x, const Tensor& w, const OptionalTensor& bias, const Tensor& y,
                                const ConvGeometry& geometry, const Epilogue& epilogue) {
  const std::int64_t images = x.shape[0], pixels = y.shape[1] * y.shape[2];
  if (x.dtype == DType::f64) {
    ForwardEpilogue<double> following(kernels_.f64.batch_norm, y, epilogue);
    reference_conv_forward(x, w, bias, y, geometry);
    following.take(0, images * pixels);
    return following.finish();
  }
  ForwardEpilogue<float> following(kernels_.f32.batch_norm, y, epilogue);
  const float *input = x.read<float>(), *offset = bias.read<float>();
  float* output = y.write<float>();
  for_each_chunk(images, images_per_chunk(x, y), [&](std::int64_t here, std::int64_t first) {
    convolutions_->of(ConvolutionShape::of(here, x, w, y, geometry, static_cast<bool>(bias)))
        ->forward(input + first * image_size(x), w, offset, output + first * image_size(y));
    following.take(first * pixels, here * pixels);
  });
  following.finish();
}

void CpuBackend::conv2d_backward_data(const Tensor& dy, const Tensor& w, const Tensor& dx,
                                      const ConvGeometry& geometry) {
  if (dy.dtype == DType::f64) return reference_conv_backward_data(dy, w, dx, geometry);
  const float* gradient = dy.read<float>();
  float* output = dx.write<float>();
  for_each_chunk(dx.shape[0], images_per_chunk(dx, dy), [&](std::int64_t here, std::int64_t first) {
    convolutions_->of(ConvolutionShape::of(here, dx, w, dy, geometry))
        ->backward_data(gradient + first * image_size(dy), w, output + first * image_size(dx));
  });
}

void CpuBackend::conv2d_backward_weights(const Tensor& x, const Tensor& dy, const Tensor& dw,
                                         const OptionalTensor& dbias, const ConvGeometry& geometry) {
  if (x.dtype == DType::f64) return reference_conv_backward_weights(x, dy, dw, dbias, geometry);
  const float *input = x.read<float>(), *gradient = dy.read<float>();
  const std::int64_t chunk = adds_filter_gradients(dw) ? images_per_chunk(x, dy) : x.shape[0];
  const Tensor more_dw = chunk < x.shape[0] ? scratch(dw.dtype, dw.shape) : Tensor{};
  for_each_chunk(x.shape[0], chunk, [&](std::int64_t here, std::int64_t first) {
    const Tensor& chunk_dw = first == 0 ? dw : more_dw;
    convolutions_->of(ConvolutionShape::of(here, x, dw, dy, geometry))
        ->backward_weights(input + first * image_size(x), gradient + first * image_size(dy), chunk_dw.write<float>());
    if (first > 0) add(dw, more_dw, dw);
  });
  // The gradient of a bias is that of the shift of an affine operator.
  if (dbias) affine_backward(dy, {}, dy, {}, {}, dbias);
}

}  // namespace sn::cpu

// Convolutions on NHWC float32 memory, by the algorithm that is fastest for their shape.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <tuple>

#include "core/backend.h"
#include "cpu/kernels/kernels.h"

namespace sn::cpu {

struct DnnlState;

struct ConvolutionShape {
  std::int64_t images, in_h, in_w, channels, out_h, out_w, filters;
  ConvGeometry geometry;
  bool with_bias;  // of its forward pass

  static ConvolutionShape of(std::int64_t images, const Tensor& x, const Tensor& w, const Tensor& y,
                             const ConvGeometry& geometry, bool with_bias = false) {
    return {images, x.shape[1], x.shape[2], x.shape[3], y.shape[1], y.shape[2], w.shape[0], geometry, with_bias};
  }
  bool operator<(const ConvolutionShape& other) const {
    const auto values = [](const ConvolutionShape& s) {
      const ConvGeometry& g = s.geometry;
      return std::make_tuple(s.images, s.in_h, s.in_w, s.channels, s.out_h, s.out_w, s.filters, g.kernel_h, g.kernel_w,
                             g.stride_h, g.stride_w, g.padding_h, g.padding_w, g.dilation_h, g.dilation_w, g.groups,
                             s.with_bias);
    };
    return values(*this) < values(other);
  }
};

// The passes of one shape. Filters come as O x kH x kW x I; what an algorithm makes of them is kept with them until
// they change.
class Convolution {
 public:
  virtual ~Convolution() = default;

  // bias: null, or one number a filter
  virtual void forward(const float* x, const Tensor& w, const float* bias, float* y) = 0;
  virtual void backward_data(const float* dy, const Tensor& w, float* dx) = 0;
  virtual void backward_weights(const float* x, const float* dy, float* dw) = 0;
};

// One Convolution a shape, made when it is first asked for.
class Convolutions {
 public:
  Convolutions(Backend& backend, DnnlState& dnnl, const WinogradKernels& winograd)
      : backend_(backend), dnnl_(dnnl), winograd_(winograd) {}

  Convolution& of(const ConvolutionShape& shape);

 private:
  std::unique_ptr<Convolution> make(const ConvolutionShape& shape);

  Backend& backend_;
  DnnlState& dnnl_;
  const WinogradKernels& winograd_;
  std::map<ConvolutionShape, std::unique_ptr<Convolution>> made_;
};

// Images that go through together: their input and output fill about half of a last-level cache share of two cores, so
// that reorders and our own passes find them there. All chunks are of one size, as far as it goes.
std::int64_t images_per_chunk(const Tensor& x, const Tensor& y);

// Whether the filters' gradient is made of those of the chunks. Large filters cost more to add up than images to read.
bool adds_filter_gradients(const Tensor& w);

}  // namespace sn::cpu

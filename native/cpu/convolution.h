// Convolutions on NHWC float32 memory, by the algorithm that is fastest for their shape.
#pragma once

#include <cstdint>
#include <memory>
#include <tuple>

#include "core/backend.h"
#include "core/lru_cache.h"
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

// Whether a shape goes through Winograd's algorithm, oneDNN's or ours: outputs come in tiles of 4x4, whose rounding
// errors are relative to the largest numbers of the tile. Where it is true of some images, it is true of more of them.
bool is_convolved_in_tiles(const ConvolutionShape& shape);

// The three passes of one shape. Filters come as O x kH x kW x I; what an algorithm derives from them is cached with
// them until they change (cpu/filter_cache.h).
class Convolution {
 public:
  virtual ~Convolution() = default;

  // bias: null, or one number a filter
  virtual void forward(const float* x, const Tensor& w, const float* bias, float* y) = 0;
  virtual void backward_data(const float* dy, const Tensor& w, float* dx) = 0;
  virtual void backward_weights(const float* x, const float* dy, float* dw) = 0;
};

// A Convolution for each shape, made when it is first asked for; those of the latest shapes are kept.
class Convolutions {
 public:
  // A SphereNet-69 has about 6 different convolutions. Each takes up to 8 shapes: chunks and what is left of the last
  // one, of full and of last batches, in training and in evaluation. That is 48, and a second network fits beside it. A
  // Convolution holds code and descriptions, tens of kilobytes, and no activations.
  static constexpr std::size_t capacity = 128;

  Convolutions(Backend& backend, DnnlState& dnnl, const WinogradKernels& winograd)
      : backend_(backend), dnnl_(dnnl), winograd_(winograd) {}

  // Shared, so that it lives on in the caller when other shapes take its place.
  std::shared_ptr<Convolution> of(const ConvolutionShape& shape);
  std::size_t size() const { return made_.size(); }

 private:
  std::shared_ptr<Convolution> make(const ConvolutionShape& shape);

  Backend& backend_;
  DnnlState& dnnl_;
  const WinogradKernels& winograd_;
  LruCache<ConvolutionShape, std::shared_ptr<Convolution>> made_{capacity};
};

// How many images go through the passes of an operator together: their input and output fill about half of a last-level
// cache share of two cores, so that reorders and our own kernels find them there. Chunks are of equal size, but for the
// last one.
std::int64_t images_per_chunk(const Tensor& x, const Tensor& y);

// Whether the gradient of the filters is computed chunk by chunk and added up. For large filters adding up costs more
// than reading the images again.
bool adds_filter_gradients(const Tensor& w);

}  // namespace sn::cpu

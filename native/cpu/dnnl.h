// oneDNN, 2.x and 3.x behind one face: engine, stream, and convolution primitives cached by geometry.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#if __has_include(<oneapi/dnnl/dnnl.hpp>)
#include <oneapi/dnnl/dnnl.hpp>
#else
#include <dnnl.hpp>
#endif

#include "core/backend.h"

namespace sn::cpu {

// What is derived from filters and kept with them until they change.
struct FilterCache {
  struct Packed {
    dnnl::memory memory;
    std::uint64_t revision;
  };
  std::vector<Packed> packed;  // in the layouts that primitives have asked for

  Tensor unit, inverse_norms;  // w/|w| and 1/|w| (SphereConv)
  NormGuard guard{};
  std::uint64_t unit_revision = 0;
};
FilterCache& filter_cache(const Tensor& w);

// The three passes of one convolution geometry on NHWC float32 memory. Filters come as O x kH x kW x I and are
// packed as oneDNN likes them, once for every change.
class Convolution {
 public:
  using Key = std::array<std::int64_t, 16>;
  static Key key(std::int64_t images, const Tensor& x, const Tensor& w, const Tensor& y, const ConvGeometry&,
                 bool with_bias);

  Convolution(const Key& key, const dnnl::engine& engine, const dnnl::stream& stream);

  void forward(const float* x, const Tensor& w, const float* bias, float* y);
  void backward_data(const float* dy, const Tensor& w, float* dx);
  // dbias only for a geometry made with bias.
  void backward_weights(const float* x, const float* dy, float* dw, float* dbias);

  // Milliseconds of each pass with packing left out (spherenet bench): forward, backward data, backward weights.
  std::vector<double> benchmark(const float* x, const Tensor& w, float* y, int repeats);

 private:
  dnnl::memory user_memory(const dnnl::memory::desc& desc, const float* data) const;
  dnnl::memory packed(const Tensor& w, const dnnl::memory::desc& wanted);
  void require_backward_data();
  void require_backward_weights();

  dnnl::engine engine_;
  dnnl::stream stream_;
  bool with_bias_;
  dnnl::memory::desc x_, y_, w_, w_any_, bias_;
  dnnl::memory::dims strides_, dilates_, padding_;

  dnnl::convolution_forward::primitive_desc forward_desc_;
  dnnl::convolution_forward forward_;
  std::unique_ptr<dnnl::convolution_backward_data::primitive_desc> backward_data_desc_;
  dnnl::convolution_backward_data backward_data_;
  std::unique_ptr<dnnl::convolution_backward_weights::primitive_desc> backward_weights_desc_;
  dnnl::convolution_backward_weights backward_weights_;
};

struct DnnlState {
  DnnlState() : engine(dnnl::engine::kind::cpu, 0), stream(engine) {}

  Convolution& convolution(const Convolution::Key& key);

  dnnl::engine engine;
  dnnl::stream stream;
  std::map<Convolution::Key, std::unique_ptr<Convolution>> convolutions;
};

}  // namespace sn::cpu

// oneDNN, 2.x and 3.x behind one face: engine, stream, and convolution primitives cached by geometry.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#if __has_include(<oneapi/dnnl/dnnl.hpp>)
#include <oneapi/dnnl/dnnl.hpp>
#else
#include <dnnl.hpp>
#endif

#include "core/allocator.h"
#include "core/backend.h"

namespace sn::cpu {

struct DnnlState;

// What is derived from filters and kept with them until they change.
struct FilterCache {
  struct Packed {
    dnnl::memory::desc layout;
    dnnl::memory memory;
    std::uint64_t revision;
  };
  std::vector<Packed> packed;  // in the layouts that primitives have asked for

  Tensor unit, inverse_norms;  // w/|w| and 1/|w| (SphereConv)
  NormGuard guard{};
  std::uint64_t unit_revision = 0;
};
FilterCache& filter_cache(const Tensor& w);

// Which of oneDNN's algorithms and layouts a convolution may use: the direct algorithm on images as they are, or what is
// fastest. Winograd's, where oneDNN has it (AVX-512), does 3x3 filters in under half the time, reorders included; its
// results are within 3e-6 of the largest.
enum class Algorithms { direct, fastest };

// What a pass reads or fills: the user's memory and, where the primitive wants another layout, memory in that. oneDNN
// takes about a microsecond to make any of these: they are made once, and a run gives them its data.
struct ConvolutionArgument {
  enum class Use { read, filled };
  ConvolutionArgument() = default;
  ConvolutionArgument(const dnnl::engine& engine, Use use, const dnnl::memory::desc& plain,
                      const dnnl::memory::desc& wanted);

  dnnl::memory::desc layout;
  std::size_t bytes = 0;
  dnnl::memory user, reordered;
  dnnl::reorder reorder;  // of what is read into the wanted layout, of what was filled out of it; else empty
};

// The three passes of one convolution geometry on NHWC float32 memory. Filters come as O x kH x kW x I and are
// packed as oneDNN likes them, once for every change; images are reordered where the algorithm asks for it.
class Convolution {
 public:
  using Key = std::array<std::int64_t, 16>;
  static Key key(std::int64_t images, const Tensor& x, const Tensor& w, const Tensor& y, const ConvGeometry&,
                 bool with_bias);

  Convolution(const Key& key, DnnlState& state, Algorithms algorithms);

  void forward(const float* x, const Tensor& w, const float* bias, float* y);
  void backward_data(const float* dy, const Tensor& w, float* dx);
  // dbias only for a geometry made with bias.
  void backward_weights(const float* x, const float* dy, float* dw, float* dbias);

  // Milliseconds of each pass with packing left out (spherenet bench): forward, backward data, backward weights.
  std::vector<double> benchmark(const float* x, const Tensor& w, float* y, int repeats);

 private:
  struct Descriptions {
    dnnl::memory::desc x, w, bias, y;
    dnnl::memory::dims strides, dilates, padding;
  };

  // x, w and y or their gradients.
  struct Pass {
    dnnl::primitive primitive;
    ConvolutionArgument x, w, y;
    dnnl::memory bias;
  };

  dnnl::memory::desc images_for(const dnnl::memory::desc& plain, dnnl::algorithm algorithm) const;
  dnnl::convolution_forward::primitive_desc describe_forward(dnnl::algorithm algorithm) const;
  Pass make_forward() const;
  Pass make_backward_data() const;
  Pass make_backward_weights() const;
  Pass& backward_data_pass();
  Pass& backward_weights_pass();
  dnnl_memory_t packed(const Tensor& w, ConvolutionArgument& filters);
  dnnl::memory bias_memory() const;
  void run(const Pass& pass, std::initializer_list<dnnl_exec_arg_t> arguments) const;

  DnnlState& state_;
  bool with_bias_, try_winograd_;
  bool blocked_;  // the direct algorithm on blocks of channels
  Descriptions plain_;  // as memory is
  dnnl::memory::desc w_any_;

  Pass forward_;
  std::optional<Pass> backward_data_, backward_weights_;  // made when they are first asked for
};

struct DnnlState {
  explicit DnnlState(std::shared_ptr<Allocator> memory)
      : engine(dnnl::engine::kind::cpu, 0), stream(engine), allocator(std::move(memory)) {}

  Convolution& convolution(const Convolution::Key& key);

  dnnl::engine engine;
  dnnl::stream stream;
  std::shared_ptr<Allocator> allocator;  // for reordered images
  std::map<Convolution::Key, std::unique_ptr<Convolution>> convolutions;
};

// Images that go through together: their input and output fill about half of a last-level cache share of two cores, so
// that reorders and our own passes find them there. All chunks are of one size, as far as it goes.
std::int64_t images_per_chunk(const Tensor& x, const Tensor& y);

// Whether the filters' gradient is made of those of the chunks. Large filters cost more to add up than images to read.
bool adds_filter_gradients(const Tensor& w);

}  // namespace sn::cpu

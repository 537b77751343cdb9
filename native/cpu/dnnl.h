// oneDNN, versions 2.x and 3.x alike: engine, stream, and its convolutions.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <vector>

#if __has_include(<oneapi/dnnl/dnnl.hpp>)
#include <oneapi/dnnl/dnnl.hpp>
#else
#include <dnnl.hpp>
#endif

#include "core/allocator.h"
#include "cpu/convolution.h"

namespace sn::cpu {

// A tensor that a pass reads or fills: our memory and, where the primitive wants another layout, memory in that layout.
// oneDNN takes about a microsecond to make any of these objects. They are made once, without data, and each run sets
// the data pointers.
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

struct DnnlState {
  explicit DnnlState(std::shared_ptr<Allocator> memory)
      : engine(dnnl::engine::kind::cpu, 0), stream(engine), allocator(std::move(memory)) {}

  dnnl::engine engine;
  dnnl::stream stream;
  std::shared_ptr<Allocator> allocator;  // for reordered images
};

// The convolution by oneDNN's primitives. Filters are packed into the layout that the primitive prefers, images are
// reordered where the algorithm needs it.
class DnnlConvolution final : public Convolution {
 public:
  // direct: on NHWC images. blocked: the same on blocks of channels. winograd: in layouts of its own.
  enum class Algorithm { direct, blocked, winograd };
  // Whether `blocked` is faster, its reorders included.
  static bool suits_blocks(const ConvolutionShape& shape);

  // Throws dnnl::error where oneDNN does not have the algorithm for the forward pass.
  DnnlConvolution(const ConvolutionShape& shape, DnnlState& state, Algorithm algorithm);

  void forward(const float* x, const Tensor& w, const float* bias, float* y) override;
  void backward_data(const float* dy, const Tensor& w, float* dx) override;
  void backward_weights(const float* x, const float* dy, float* dw) override;

  // Milliseconds of each pass without packing: forward, backward data, backward weights, `repeats` times. For `direct`.
  std::vector<double> benchmark(const float* x, const Tensor& w, float* y, int repeats);

 private:
  struct Descriptions {
    dnnl::memory::desc x, w, bias, y;
    dnnl::memory::dims strides, dilates, padding;
  };

  // A primitive with its three tensors, which may be gradients.
  struct Pass {
    dnnl::primitive primitive;
    ConvolutionArgument x, w, y;
  };

  dnnl::memory::desc images_for(const dnnl::memory::desc& plain, dnnl::algorithm algorithm) const;
  dnnl::convolution_forward::primitive_desc describe_forward(dnnl::algorithm algorithm) const;
  template <typename Make>
  auto with_algorithm(Make&& make) const;
  template <typename Primitive>
  typename Primitive::primitive_desc describe_backward() const;
  Pass make_forward() const;
  Pass make_backward_data() const;
  Pass make_backward_weights() const;
  Pass& backward_data_pass();
  Pass& backward_weights_pass();
  dnnl::memory packed(const Tensor& w, ConvolutionArgument& filters);
  void run(const Pass& pass, std::initializer_list<dnnl_exec_arg_t> arguments) const;

  DnnlState& state_;
  Algorithm algorithm_;
  std::int64_t multiply_adds_;  // of a pass
  Descriptions plain_;          // of our memory
  dnnl::memory::desc w_any_;
  dnnl::memory bias_;  // empty without

  Pass forward_;
  std::optional<Pass> backward_data_, backward_weights_;  // made when they are first asked for
};

}  // namespace sn::cpu

#include "cpu/dnnl.h"

#include <chrono>

#include "cpu/filter_cache.h"
#include "cpu/threads.h"

namespace sn::cpu {
namespace {

using dims = dnnl::memory::dims;
using md = dnnl::memory::desc;
constexpr auto f32 = dnnl::memory::data_type::f32;
using tag = dnnl::memory::format_tag;

// Our O x kH x kW x I filters, described in oneDNN's order of axes.
md filter_desc(std::int64_t groups, std::int64_t filters, std::int64_t channels, std::int64_t kh, std::int64_t kw) {
  const std::int64_t filter = kh * kw * channels;
  if (groups == 1) return md(dims{filters, channels, kh, kw}, f32, dims{filter, 1, kw * channels, channels});
  const std::int64_t per_group = filters / groups;
  return md(dims{groups, per_group, channels, kh, kw}, f32,
            dims{per_group * filter, filter, 1, kw * channels, channels});
}

md any_layout(std::int64_t groups, std::int64_t filters, std::int64_t channels, std::int64_t kh, std::int64_t kw) {
  if (groups == 1) return md(dims{filters, channels, kh, kw}, f32, tag::any);
  return md(dims{groups, filters / groups, channels, kh, kw}, f32, tag::any);
}

// Gives an argument its data for one run. Where the primitive wants another layout, there is workspace for it
// meanwhile.
class Placed {
 public:
  Placed(DnnlState& state, ConvolutionArgument& argument, const float* data) : state_(state), argument_(argument) {
    // oneDNN has no type for memory it only reads.
    argument.user.set_data_handle(const_cast<float*>(data));
    if (!argument.reorder) return;
    block_ = state.allocator->allocate(argument.bytes);
    argument.reordered.set_data_handle(block_);
  }
  ~Placed() {
    if (block_ != nullptr) state_.allocator->release(block_, argument_.bytes);
  }
  Placed(const Placed&) = delete;
  Placed& operator=(const Placed&) = delete;

  dnnl_memory_t memory() const { return (block_ != nullptr ? argument_.reordered : argument_.user).get(); }
  dnnl_memory_t filled() {
    if (block_ != nullptr) argument_.reorder.execute(state_.stream, argument_.user, argument_.reordered);
    return memory();
  }
  void bring_back() {
    if (block_ != nullptr) argument_.reorder.execute(state_.stream, argument_.reordered, argument_.user);
  }

 private:
  DnnlState& state_;
  ConvolutionArgument& argument_;
  void* block_ = nullptr;
};

}  // namespace

ConvolutionArgument::ConvolutionArgument(const dnnl::engine& engine, Use use, const md& plain, const md& wanted)
    : layout(wanted), bytes(wanted.get_size()), user(plain, engine, DNNL_MEMORY_NONE) {
  if (wanted == plain) return;
  reordered = dnnl::memory(wanted, engine, DNNL_MEMORY_NONE);
  reorder = use == Use::read ? dnnl::reorder(user, reordered) : dnnl::reorder(reordered, user);
}

// With AVX-512 the direct convolution is as fast on NHWC images as on blocks of channels. With AVX2 it takes 10 to 25%
// longer on NHWC: the reorders pay where each element of an image takes part in enough products.
bool DnnlConvolution::suits_blocks(const ConvolutionShape& s) {
  constexpr auto avx512 = static_cast<int>(dnnl::cpu_isa::avx512_core);
  if ((static_cast<int>(dnnl::get_effective_cpu_isa()) & avx512) == avx512 || s.geometry.groups > 1) return false;
  constexpr std::int64_t least_products = 90;
  const std::int64_t products = s.out_h * s.out_w * s.filters * s.geometry.kernel_h * s.geometry.kernel_w * s.channels;
  return products >= least_products * (s.in_h * s.in_w * s.channels + s.out_h * s.out_w * s.filters);
}

DnnlConvolution::DnnlConvolution(const ConvolutionShape& s, DnnlState& state, Algorithm algorithm)
    : state_(state), algorithm_(algorithm) {
  const ConvGeometry& g = s.geometry;
  const std::int64_t channels = s.channels / g.groups;
  multiply_adds_ = s.images * s.out_h * s.out_w * s.filters * g.kernel_h * g.kernel_w * channels;
  const ThreadsFor threads(multiply_adds_);
  plain_.x = md(dims{s.images, s.channels, s.in_h, s.in_w}, f32, tag::nhwc);
  plain_.y = md(dims{s.images, s.filters, s.out_h, s.out_w}, f32, tag::nhwc);
  plain_.w = filter_desc(g.groups, s.filters, channels, g.kernel_h, g.kernel_w);
  plain_.strides = {g.stride_h, g.stride_w};
  plain_.dilates = {g.dilation_h - 1, g.dilation_w - 1};
  plain_.padding = {g.padding_h, g.padding_w};
  w_any_ = any_layout(g.groups, s.filters, channels, g.kernel_h, g.kernel_w);
  if (s.with_bias) {
    plain_.bias = md(dims{s.filters}, f32, tag::x);
    bias_ = dnnl::memory(plain_.bias, state_.engine, DNNL_MEMORY_NONE);
  }
  forward_ = make_forward();
}

// NHWC for the direct algorithm, unless it is to run on blocks; else what oneDNN chooses.
md DnnlConvolution::images_for(const md& plain, dnnl::algorithm algorithm) const {
  if (algorithm == dnnl::algorithm::convolution_direct && algorithm_ != Algorithm::blocked) return plain;
  return md(plain.dims(), f32, tag::any);
}

dnnl::convolution_forward::primitive_desc DnnlConvolution::describe_forward(dnnl::algorithm algorithm) const {
  constexpr auto training = dnnl::prop_kind::forward_training;
  const md x = images_for(plain_.x, algorithm), y = images_for(plain_.y, algorithm);
#if DNNL_VERSION_MAJOR >= 3
  return {state_.engine,  training,       algorithm,     x, w_any_, plain_.bias, y, plain_.strides,
          plain_.dilates, plain_.padding, plain_.padding};
#else
  return {{training, algorithm, x, w_any_, plain_.bias, y, plain_.strides, plain_.dilates, plain_.padding,
           plain_.padding},
          state_.engine};
#endif
}

DnnlConvolution::Pass DnnlConvolution::make_forward() const {
  using Use = ConvolutionArgument::Use;
  const auto desc = describe_forward(algorithm_ == Algorithm::winograd ? dnnl::algorithm::convolution_winograd
                                                                       : dnnl::algorithm::convolution_direct);
  return {dnnl::convolution_forward(desc),
          {state_.engine, Use::read, plain_.x, desc.src_desc()},
          {state_.engine, Use::read, plain_.w, desc.weights_desc()},
          {state_.engine, Use::filled, plain_.y, desc.dst_desc()}};
}

// Calls make(algorithm), with the direct one where oneDNN has Winograd's for the forward pass only.
template <typename Make>
auto DnnlConvolution::with_algorithm(Make&& make) const {
  if (algorithm_ == Algorithm::winograd) {
    try {
      return make(dnnl::algorithm::convolution_winograd);
    } catch (const dnnl::error&) {
    }
  }
  return make(dnnl::algorithm::convolution_direct);
}

// Primitive: dnnl::convolution_backward_data or dnnl::convolution_backward_weights.
template <typename Primitive>
typename Primitive::primitive_desc DnnlConvolution::describe_backward() const {
  return with_algorithm([&](dnnl::algorithm algorithm) {
    const md x = images_for(plain_.x, algorithm), y = images_for(plain_.y, algorithm);
    const auto hint = describe_forward(algorithm);
#if DNNL_VERSION_MAJOR >= 3
    return typename Primitive::primitive_desc(state_.engine, algorithm, x, w_any_, y, plain_.strides, plain_.dilates,
                                              plain_.padding, plain_.padding, hint);
#else
    return typename Primitive::primitive_desc(
        {algorithm, x, w_any_, y, plain_.strides, plain_.dilates, plain_.padding, plain_.padding}, state_.engine, hint);
#endif
  });
}

DnnlConvolution::Pass DnnlConvolution::make_backward_data() const {
  using Use = ConvolutionArgument::Use;
  const auto desc = describe_backward<dnnl::convolution_backward_data>();
  return {dnnl::convolution_backward_data(desc),
          {state_.engine, Use::filled, plain_.x, desc.diff_src_desc()},
          {state_.engine, Use::read, plain_.w, desc.weights_desc()},
          {state_.engine, Use::read, plain_.y, desc.diff_dst_desc()}};
}

DnnlConvolution::Pass DnnlConvolution::make_backward_weights() const {
  using Use = ConvolutionArgument::Use;
  const auto desc = describe_backward<dnnl::convolution_backward_weights>();
  return {dnnl::convolution_backward_weights(desc),
          {state_.engine, Use::read, plain_.x, desc.src_desc()},
          {state_.engine, Use::filled, plain_.w, desc.diff_weights_desc()},
          {state_.engine, Use::read, plain_.y, desc.diff_dst_desc()}};
}

DnnlConvolution::Pass& DnnlConvolution::backward_data_pass() {
  if (!backward_data_) backward_data_ = make_backward_data();
  return *backward_data_;
}

DnnlConvolution::Pass& DnnlConvolution::backward_weights_pass() {
  if (!backward_weights_) backward_weights_ = make_backward_weights();
  return *backward_weights_;
}

dnnl::memory DnnlConvolution::packed(const Tensor& w, ConvolutionArgument& filters) {
  filters.user.set_data_handle(const_cast<float*>(w.read<float>()));
  if (!filters.reorder) return filters.user;
  PackedFilters::Entry& entry = w.derived<FilterCache>().packed.in(filters.layout, state_.engine);
  if (!entry.filled || entry.revision != w.storage->revision()) {
    filters.reorder.execute(state_.stream, filters.user, entry.memory);
    entry.filled = true;
    entry.revision = w.storage->revision();
  }
  return entry.memory;
}

// As dnnl::primitive::execute, which takes a map that would be built for each call.
void DnnlConvolution::run(const Pass& pass, std::initializer_list<dnnl_exec_arg_t> arguments) const {
  const auto status = dnnl_primitive_execute(pass.primitive.get(), state_.stream.get(),
                                             static_cast<int>(arguments.size()), arguments.begin());
  dnnl::error::wrap_c_api(status, "could not execute a convolution");
}

void DnnlConvolution::forward(const float* x, const Tensor& w, const float* bias, float* y) {
  const ThreadsFor threads(multiply_adds_);
  Placed input(state_, forward_.x, x), output(state_, forward_.y, y);
  const dnnl::memory filters = packed(w, forward_.w);
  if (bias_) {
    bias_.set_data_handle(const_cast<float*>(bias));
    run(forward_, {{DNNL_ARG_SRC, input.filled()},
                   {DNNL_ARG_WEIGHTS, filters.get()},
                   {DNNL_ARG_BIAS, bias_.get()},
                   {DNNL_ARG_DST, output.memory()}});
  } else {
    run(forward_, {{DNNL_ARG_SRC, input.filled()}, {DNNL_ARG_WEIGHTS, filters.get()}, {DNNL_ARG_DST, output.memory()}});
  }
  output.bring_back();
}

void DnnlConvolution::backward_data(const float* dy, const Tensor& w, float* dx) {
  const ThreadsFor threads(multiply_adds_);
  Pass& pass = backward_data_pass();
  Placed gradient(state_, pass.y, dy), output(state_, pass.x, dx);
  const dnnl::memory filters = packed(w, pass.w);
  run(pass, {{DNNL_ARG_DIFF_DST, gradient.filled()},
             {DNNL_ARG_WEIGHTS, filters.get()},
             {DNNL_ARG_DIFF_SRC, output.memory()}});
  output.bring_back();
}

void DnnlConvolution::backward_weights(const float* x, const float* dy, float* dw) {
  const ThreadsFor threads(multiply_adds_);
  Pass& pass = backward_weights_pass();
  Placed input(state_, pass.x, x), gradient(state_, pass.y, dy), output(state_, pass.w, dw);
  run(pass, {{DNNL_ARG_SRC, input.filled()},
             {DNNL_ARG_DIFF_DST, gradient.filled()},
             {DNNL_ARG_DIFF_WEIGHTS, output.memory()}});
  output.bring_back();
}

std::vector<double> DnnlConvolution::benchmark(const float* x, const Tensor& w, float* y, int repeats) {
  const ThreadsFor threads(multiply_adds_);
  const Pass &data_pass = backward_data_pass(), &weights_pass = backward_weights_pass();
  forward_.x.user.set_data_handle(const_cast<float*>(x));
  forward_.y.user.set_data_handle(y);
  const dnnl_memory_t input = forward_.x.user.get(), output = forward_.y.user.get();
  const dnnl::memory forward_filters = packed(w, forward_.w);
  const dnnl::memory backward_filters = packed(w, backward_data_->w);
  const dnnl::memory gradient(weights_pass.w.layout, state_.engine);
  const dnnl::memory input_gradient(plain_.x, state_.engine);
  const auto milliseconds = [&](const Pass& pass, std::initializer_list<dnnl_exec_arg_t> arguments) {
    const auto start = std::chrono::steady_clock::now();
    run(pass, arguments);
    state_.stream.wait();
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  };
  std::vector<double> times;
  for (int i = 0; i < repeats; ++i) {
    times.push_back(milliseconds(
        forward_, {{DNNL_ARG_SRC, input}, {DNNL_ARG_WEIGHTS, forward_filters.get()}, {DNNL_ARG_DST, output}}));
    times.push_back(milliseconds(data_pass, {{DNNL_ARG_DIFF_DST, output},
                                             {DNNL_ARG_WEIGHTS, backward_filters.get()},
                                             {DNNL_ARG_DIFF_SRC, input_gradient.get()}}));
    times.push_back(milliseconds(
        weights_pass, {{DNNL_ARG_SRC, input}, {DNNL_ARG_DIFF_DST, output}, {DNNL_ARG_DIFF_WEIGHTS, gradient.get()}}));
  }
  return times;
}

}  // namespace sn::cpu

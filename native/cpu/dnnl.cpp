#include "cpu/dnnl.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>

namespace sn::cpu {
namespace {

using dims = dnnl::memory::dims;
using md = dnnl::memory::desc;
constexpr auto f32 = dnnl::memory::data_type::f32;
using tag = dnnl::memory::format_tag;

// Filters in oneDNN's order of axes, over our O x kH x kW x I memory.
md filter_desc(std::int64_t groups, std::int64_t filters, std::int64_t channels, std::int64_t kh, std::int64_t kw) {
  const std::int64_t filter = kh * kw * channels;
  if (groups == 1) return md(dims{filters, channels, kh, kw}, f32, dims{filter, 1, kw * channels, channels});
  const std::int64_t per_group = filters / groups;
  return md(dims{groups, per_group, channels, kh, kw}, f32, dims{per_group * filter, filter, 1, kw * channels, channels});
}

md any_layout(std::int64_t groups, std::int64_t filters, std::int64_t channels, std::int64_t kh, std::int64_t kw) {
  if (groups == 1) return md(dims{filters, channels, kh, kw}, f32, tag::any);
  return md(dims{groups, filters / groups, channels, kh, kw}, f32, tag::any);
}

// Fewer channels leave Winograd's transforms in the majority.
constexpr std::int64_t least_winograd_channels = 32;

bool suits_winograd(const Convolution::Key& key) {
  const auto [images, in_h, in_w, channels, out_h, out_w, filters, kernel_h, kernel_w, stride_h, stride_w, padding_h,
              padding_w, dilation_h, dilation_w, groups_and_bias] = key;
  const bool plain = kernel_h == 3 && kernel_w == 3 && stride_h == 1 && stride_w == 1 && dilation_h == 1 &&
                     dilation_w == 1 && groups_and_bias / 2 == 1;
  return plain && channels >= least_winograd_channels && filters >= least_winograd_channels;
}

// With AVX-512 the direct convolution is as fast on NHWC images as on blocks of channels; with AVX2 it takes a tenth to
// a quarter longer, which pays for the reorders where an element of an image is in enough products.
bool suits_blocks(const Convolution::Key& key) {
  const auto [images, in_h, in_w, channels, out_h, out_w, filters, kernel_h, kernel_w, stride_h, stride_w, padding_h,
              padding_w, dilation_h, dilation_w, groups_and_bias] = key;
  constexpr auto avx512 = static_cast<int>(dnnl::cpu_isa::avx512_core);
  if ((static_cast<int>(dnnl::get_effective_cpu_isa()) & avx512) == avx512 || groups_and_bias / 2 > 1) return false;
  constexpr std::int64_t least_products = 90;
  const std::int64_t products = out_h * out_w * filters * kernel_h * kernel_w * channels;
  return products >= least_products * (in_h * in_w * channels + out_h * out_w * filters);
}

bool winograd_allowed() {
  static const char* asked = std::getenv("SPHERENET_WINOGRAD");
  return asked == nullptr || std::strcmp(asked, "off") != 0;
}

// Calls make(algorithm) with Winograd's, where that is to be tried and oneDNN has it, else with the direct one.
template <typename Make>
auto with_algorithm(bool try_winograd, Make&& make) {
  if (try_winograd) {
    try {
      return make(dnnl::algorithm::convolution_winograd);
    } catch (const dnnl::error&) {
      // Not for this processor, or not in this version.
    }
  }
  return make(dnnl::algorithm::convolution_direct);
}

// An argument with its data in it, for one run. Where the primitive wants another layout, it gets room for that long.
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

constexpr std::int64_t chunk_bytes = std::int64_t{8} << 20;

bool adds_filter_gradients(const Tensor& w) { return static_cast<std::int64_t>(w.bytes()) < chunk_bytes / 2; }

std::int64_t images_per_chunk(const Tensor& x, const Tensor& y) {
  const std::int64_t images = x.shape[0];
  const auto bytes = static_cast<std::int64_t>(x.bytes() + 2 * y.bytes());
  const std::int64_t chunks = std::clamp<std::int64_t>((bytes + chunk_bytes - 1) / chunk_bytes, 1, images);
  return (images + chunks - 1) / chunks;
}

FilterCache& filter_cache(const Tensor& w) {
  if (!w.storage->derived) w.storage->derived = std::make_shared<FilterCache>();
  return *static_cast<FilterCache*>(w.storage->derived.get());
}

ConvolutionArgument::ConvolutionArgument(const dnnl::engine& engine, Use use, const md& plain, const md& wanted)
    : layout(wanted), bytes(wanted.get_size()), user(plain, engine, DNNL_MEMORY_NONE) {
  if (wanted == plain) return;
  reordered = dnnl::memory(wanted, engine, DNNL_MEMORY_NONE);
  reorder = use == Use::read ? dnnl::reorder(user, reordered) : dnnl::reorder(reordered, user);
}

Convolution::Key Convolution::key(std::int64_t images, const Tensor& x, const Tensor& w, const Tensor& y,
                                  const ConvGeometry& g, bool with_bias) {
  return {images,     x.shape[1],  x.shape[2], x.shape[3],  y.shape[1],   y.shape[2],   w.shape[0],  g.kernel_h,
          g.kernel_w, g.stride_h,  g.stride_w, g.padding_h, g.padding_w, g.dilation_h, g.dilation_w, g.groups * 2 + with_bias};
}

Convolution::Convolution(const Key& key, DnnlState& state, Algorithms algorithms) : state_(state) {
  const auto [images, in_h, in_w, channels, out_h, out_w, filters, kernel_h, kernel_w, stride_h, stride_w, padding_h,
              padding_w, dilation_h, dilation_w, groups_and_bias] = key;
  const std::int64_t groups = groups_and_bias / 2;
  with_bias_ = groups_and_bias % 2 != 0;
  blocked_ = algorithms == Algorithms::fastest && suits_blocks(key);
  try_winograd_ = algorithms == Algorithms::fastest && winograd_allowed() && suits_winograd(key);
  plain_.x = md(dims{images, channels, in_h, in_w}, f32, tag::nhwc);
  plain_.y = md(dims{images, filters, out_h, out_w}, f32, tag::nhwc);
  plain_.w = filter_desc(groups, filters, channels / groups, kernel_h, kernel_w);
  plain_.bias = with_bias_ ? md(dims{filters}, f32, tag::x) : md();
  plain_.strides = {stride_h, stride_w};
  plain_.dilates = {dilation_h - 1, dilation_w - 1};
  plain_.padding = {padding_h, padding_w};
  w_any_ = any_layout(groups, filters, channels / groups, kernel_h, kernel_w);
  forward_ = make_forward();
}

// Winograd's algorithm has layouts of its own.
md Convolution::images_for(const md& plain, dnnl::algorithm algorithm) const {
  if (algorithm == dnnl::algorithm::convolution_direct && !blocked_) return plain;
  return md(plain.dims(), f32, tag::any);
}

dnnl::convolution_forward::primitive_desc Convolution::describe_forward(dnnl::algorithm algorithm) const {
  constexpr auto training = dnnl::prop_kind::forward_training;
  const md x = images_for(plain_.x, algorithm), y = images_for(plain_.y, algorithm);
#if DNNL_VERSION_MAJOR >= 3
  return {state_.engine, training, algorithm, x, w_any_, plain_.bias, y, plain_.strides, plain_.dilates, plain_.padding,
          plain_.padding};
#else
  return {{training, algorithm, x, w_any_, plain_.bias, y, plain_.strides, plain_.dilates, plain_.padding, plain_.padding},
          state_.engine};
#endif
}

Convolution::Pass Convolution::make_forward() const {
  using Use = ConvolutionArgument::Use;
  const auto desc = with_algorithm(try_winograd_, [&](dnnl::algorithm algorithm) { return describe_forward(algorithm); });
  return {dnnl::convolution_forward(desc),
          {state_.engine, Use::read, plain_.x, desc.src_desc()},
          {state_.engine, Use::read, plain_.w, desc.weights_desc()},
          {state_.engine, Use::filled, plain_.y, desc.dst_desc()},
          bias_memory()};
}

Convolution::Pass Convolution::make_backward_data() const {
  using Use = ConvolutionArgument::Use;
  using Primitive = dnnl::convolution_backward_data;
  const auto desc = with_algorithm(try_winograd_, [&](dnnl::algorithm algorithm) {
    const md dx = images_for(plain_.x, algorithm), dy = images_for(plain_.y, algorithm);
    const auto hint = describe_forward(algorithm);
#if DNNL_VERSION_MAJOR >= 3
    return Primitive::primitive_desc(state_.engine, algorithm, dx, w_any_, dy, plain_.strides, plain_.dilates,
                                     plain_.padding, plain_.padding, hint);
#else
    return Primitive::primitive_desc(
        {algorithm, dx, w_any_, dy, plain_.strides, plain_.dilates, plain_.padding, plain_.padding}, state_.engine, hint);
#endif
  });
  return {Primitive(desc),
          {state_.engine, Use::filled, plain_.x, desc.diff_src_desc()},
          {state_.engine, Use::read, plain_.w, desc.weights_desc()},
          {state_.engine, Use::read, plain_.y, desc.diff_dst_desc()},
          {}};
}

Convolution::Pass Convolution::make_backward_weights() const {
  using Use = ConvolutionArgument::Use;
  using Primitive = dnnl::convolution_backward_weights;
  const auto desc = with_algorithm(try_winograd_, [&](dnnl::algorithm algorithm) {
    const md x = images_for(plain_.x, algorithm), dy = images_for(plain_.y, algorithm);
    const auto hint = describe_forward(algorithm);
#if DNNL_VERSION_MAJOR >= 3
    return Primitive::primitive_desc(state_.engine, algorithm, x, w_any_, plain_.bias, dy, plain_.strides,
                                     plain_.dilates, plain_.padding, plain_.padding, hint);
#else
    return Primitive::primitive_desc({algorithm, x, w_any_, plain_.bias, dy, plain_.strides, plain_.dilates,
                                      plain_.padding, plain_.padding},
                                     state_.engine, hint);
#endif
  });
  return {Primitive(desc),
          {state_.engine, Use::read, plain_.x, desc.src_desc()},
          {state_.engine, Use::filled, plain_.w, desc.diff_weights_desc()},
          {state_.engine, Use::read, plain_.y, desc.diff_dst_desc()},
          bias_memory()};
}

Convolution::Pass& Convolution::backward_data_pass() {
  if (!backward_data_) backward_data_ = make_backward_data();
  return *backward_data_;
}

Convolution::Pass& Convolution::backward_weights_pass() {
  if (!backward_weights_) backward_weights_ = make_backward_weights();
  return *backward_weights_;
}

dnnl::memory Convolution::bias_memory() const {
  return with_bias_ ? dnnl::memory(plain_.bias, state_.engine, DNNL_MEMORY_NONE) : dnnl::memory();
}

dnnl_memory_t Convolution::packed(const Tensor& w, ConvolutionArgument& filters) {
  filters.user.set_data_handle(const_cast<float*>(w.read<float>()));
  if (!filters.reorder) return filters.user.get();
  auto& packed = filter_cache(w).packed;
  FilterCache::Packed* entry = nullptr;
  for (auto& candidate : packed) {
    if (candidate.layout == filters.layout) entry = &candidate;
  }
  if (entry == nullptr) {
    packed.push_back({filters.layout, dnnl::memory(filters.layout, state_.engine), w.storage->revision() + 1});
    entry = &packed.back();
  }
  if (entry->revision != w.storage->revision()) {
    filters.reorder.execute(state_.stream, filters.user, entry->memory);
    entry->revision = w.storage->revision();
  }
  return entry->memory.get();
}

// dnnl::primitive::execute without the map that it takes.
void Convolution::run(const Pass& pass, std::initializer_list<dnnl_exec_arg_t> arguments) const {
  const auto status = dnnl_primitive_execute(pass.primitive.get(), state_.stream.get(),
                                             static_cast<int>(arguments.size()), arguments.begin());
  dnnl::error::wrap_c_api(status, "could not execute a convolution");
}

void Convolution::forward(const float* x, const Tensor& w, const float* bias, float* y) {
  Placed input(state_, forward_.x, x), output(state_, forward_.y, y);
  const dnnl_memory_t filters = packed(w, forward_.w);
  if (with_bias_) {
    forward_.bias.set_data_handle(const_cast<float*>(bias));
    run(forward_, {{DNNL_ARG_SRC, input.filled()},
                   {DNNL_ARG_WEIGHTS, filters},
                   {DNNL_ARG_BIAS, forward_.bias.get()},
                   {DNNL_ARG_DST, output.memory()}});
  } else {
    run(forward_, {{DNNL_ARG_SRC, input.filled()}, {DNNL_ARG_WEIGHTS, filters}, {DNNL_ARG_DST, output.memory()}});
  }
  output.bring_back();
}

void Convolution::backward_data(const float* dy, const Tensor& w, float* dx) {
  Pass& pass = backward_data_pass();
  Placed gradient(state_, pass.y, dy), output(state_, pass.x, dx);
  run(pass, {{DNNL_ARG_DIFF_DST, gradient.filled()},
             {DNNL_ARG_WEIGHTS, packed(w, pass.w)},
             {DNNL_ARG_DIFF_SRC, output.memory()}});
  output.bring_back();
}

void Convolution::backward_weights(const float* x, const float* dy, float* dw, float* dbias) {
  Pass& pass = backward_weights_pass();
  Placed input(state_, pass.x, x), gradient(state_, pass.y, dy), output(state_, pass.w, dw);
  if (with_bias_) {
    pass.bias.set_data_handle(dbias);
    run(pass, {{DNNL_ARG_SRC, input.filled()},
               {DNNL_ARG_DIFF_DST, gradient.filled()},
               {DNNL_ARG_DIFF_WEIGHTS, output.memory()},
               {DNNL_ARG_DIFF_BIAS, pass.bias.get()}});
  } else {
    run(pass, {{DNNL_ARG_SRC, input.filled()},
               {DNNL_ARG_DIFF_DST, gradient.filled()},
               {DNNL_ARG_DIFF_WEIGHTS, output.memory()}});
  }
  output.bring_back();
}

std::vector<double> Convolution::benchmark(const float* x, const Tensor& w, float* y, int repeats) {
  const Pass &data_pass = backward_data_pass(), &weights_pass = backward_weights_pass();
  forward_.x.user.set_data_handle(const_cast<float*>(x));
  forward_.y.user.set_data_handle(y);
  const dnnl_memory_t input = forward_.x.user.get(), output = forward_.y.user.get();
  const dnnl_memory_t forward_filters = packed(w, forward_.w);
  const dnnl_memory_t backward_filters = packed(w, backward_data_->w);
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
        forward_, {{DNNL_ARG_SRC, input}, {DNNL_ARG_WEIGHTS, forward_filters}, {DNNL_ARG_DST, output}}));
    times.push_back(milliseconds(data_pass, {{DNNL_ARG_DIFF_DST, output},
                                             {DNNL_ARG_WEIGHTS, backward_filters},
                                             {DNNL_ARG_DIFF_SRC, input_gradient.get()}}));
    times.push_back(milliseconds(
        weights_pass, {{DNNL_ARG_SRC, input}, {DNNL_ARG_DIFF_DST, output}, {DNNL_ARG_DIFF_WEIGHTS, gradient.get()}}));
  }
  return times;
}

Convolution& DnnlState::convolution(const Convolution::Key& key) {
  auto& entry = convolutions[key];
  if (!entry) entry = std::make_unique<Convolution>(key, *this, Algorithms::fastest);
  return *entry;
}

}  // namespace sn::cpu

#include "cpu/dnnl.h"

#include <chrono>

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

template <typename Primitive, typename... Arguments>
typename Primitive::primitive_desc describe_forward(const dnnl::engine& engine, Arguments... arguments) {
  constexpr auto training = dnnl::prop_kind::forward_training;
  constexpr auto direct = dnnl::algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
  return typename Primitive::primitive_desc(engine, training, direct, arguments...);
#else
  return typename Primitive::primitive_desc(typename Primitive::desc(training, direct, arguments...), engine);
#endif
}

template <typename Primitive, typename... Arguments>
std::unique_ptr<typename Primitive::primitive_desc> describe_backward(
    const dnnl::engine& engine, const dnnl::convolution_forward::primitive_desc& hint, Arguments... arguments) {
  constexpr auto direct = dnnl::algorithm::convolution_direct;
  using Description = typename Primitive::primitive_desc;
#if DNNL_VERSION_MAJOR >= 3
  return std::make_unique<Description>(engine, direct, arguments..., hint);
#else
  return std::make_unique<Description>(typename Primitive::desc(direct, arguments...), engine, hint);
#endif
}

}  // namespace

FilterCache& filter_cache(const Tensor& w) {
  if (!w.storage->derived) w.storage->derived = std::make_shared<FilterCache>();
  return *std::static_pointer_cast<FilterCache>(w.storage->derived);
}

Convolution::Key Convolution::key(std::int64_t images, const Tensor& x, const Tensor& w, const Tensor& y,
                                  const ConvGeometry& g, bool with_bias) {
  return {images,     x.shape[1],  x.shape[2], x.shape[3],  y.shape[1],   y.shape[2],   w.shape[0],  g.kernel_h,
          g.kernel_w, g.stride_h,  g.stride_w, g.padding_h, g.padding_w, g.dilation_h, g.dilation_w, g.groups * 2 + with_bias};
}

Convolution::Convolution(const Key& key, const dnnl::engine& engine, const dnnl::stream& stream)
    : engine_(engine), stream_(stream) {
  const auto [images, in_h, in_w, channels, out_h, out_w, filters, kernel_h, kernel_w, stride_h, stride_w, padding_h,
              padding_w, dilation_h, dilation_w, groups_and_bias] = key;
  const std::int64_t groups = groups_and_bias / 2;
  with_bias_ = groups_and_bias % 2 != 0;
  x_ = md(dims{images, channels, in_h, in_w}, f32, tag::nhwc);
  y_ = md(dims{images, filters, out_h, out_w}, f32, tag::nhwc);
  w_ = filter_desc(groups, filters, channels / groups, kernel_h, kernel_w);
  w_any_ = any_layout(groups, filters, channels / groups, kernel_h, kernel_w);
  bias_ = with_bias_ ? md(dims{filters}, f32, tag::x) : md();
  strides_ = {stride_h, stride_w};
  dilates_ = {dilation_h - 1, dilation_w - 1};
  padding_ = {padding_h, padding_w};
  forward_desc_ = describe_forward<dnnl::convolution_forward>(engine_, x_, w_any_, bias_, y_, strides_, dilates_,
                                                              padding_, padding_);
  forward_ = dnnl::convolution_forward(forward_desc_);
}

void Convolution::require_backward_data() {
  if (backward_data_desc_) return;
  backward_data_desc_ = describe_backward<dnnl::convolution_backward_data>(engine_, forward_desc_, x_, w_any_, y_,
                                                                           strides_, dilates_, padding_, padding_);
  backward_data_ = dnnl::convolution_backward_data(*backward_data_desc_);
}

void Convolution::require_backward_weights() {
  if (backward_weights_desc_) return;
  backward_weights_desc_ = describe_backward<dnnl::convolution_backward_weights>(
      engine_, forward_desc_, x_, w_any_, bias_, y_, strides_, dilates_, padding_, padding_);
  backward_weights_ = dnnl::convolution_backward_weights(*backward_weights_desc_);
}

dnnl::memory Convolution::user_memory(const md& desc, const float* data) const {
  // oneDNN has no type for memory it only reads.
  return dnnl::memory(desc, engine_, const_cast<float*>(data));
}

dnnl::memory Convolution::packed(const Tensor& w, const md& wanted) {
  dnnl::memory plain = user_memory(w_, w.read<float>());
  if (wanted == w_) return plain;
  auto& packed = filter_cache(w).packed;
  FilterCache::Packed* entry = nullptr;
  for (auto& candidate : packed) {
    if (candidate.memory.get_desc() == wanted) entry = &candidate;
  }
  if (entry == nullptr) {
    packed.push_back({dnnl::memory(wanted, engine_), w.storage->revision() + 1});
    entry = &packed.back();
  }
  if (entry->revision != w.storage->revision()) {
    dnnl::reorder(plain, entry->memory).execute(stream_, plain, entry->memory);
    entry->revision = w.storage->revision();
  }
  return entry->memory;
}

void Convolution::forward(const float* x, const Tensor& w, const float* bias, float* y) {
  std::unordered_map<int, dnnl::memory> arguments{{DNNL_ARG_SRC, user_memory(x_, x)},
                                                  {DNNL_ARG_WEIGHTS, packed(w, forward_desc_.weights_desc())},
                                                  {DNNL_ARG_DST, user_memory(y_, y)}};
  if (with_bias_) arguments.emplace(DNNL_ARG_BIAS, user_memory(bias_, bias));
  forward_.execute(stream_, arguments);
}

void Convolution::backward_data(const float* dy, const Tensor& w, float* dx) {
  require_backward_data();
  backward_data_.execute(stream_, {{DNNL_ARG_DIFF_DST, user_memory(y_, dy)},
                                   {DNNL_ARG_WEIGHTS, packed(w, backward_data_desc_->weights_desc())},
                                   {DNNL_ARG_DIFF_SRC, user_memory(x_, dx)}});
}

void Convolution::backward_weights(const float* x, const float* dy, float* dw, float* dbias) {
  require_backward_weights();
  const md wanted = backward_weights_desc_->diff_weights_desc();
  dnnl::memory plain = user_memory(w_, dw);
  dnnl::memory gradient = wanted == w_ ? plain : dnnl::memory(wanted, engine_);
  std::unordered_map<int, dnnl::memory> arguments{{DNNL_ARG_SRC, user_memory(x_, x)},
                                                  {DNNL_ARG_DIFF_DST, user_memory(y_, dy)},
                                                  {DNNL_ARG_DIFF_WEIGHTS, gradient}};
  if (with_bias_) arguments.emplace(DNNL_ARG_DIFF_BIAS, user_memory(bias_, dbias));
  backward_weights_.execute(stream_, arguments);
  if (wanted != w_) dnnl::reorder(gradient, plain).execute(stream_, gradient, plain);
}

std::vector<double> Convolution::benchmark(const float* x, const Tensor& w, float* y, int repeats) {
  require_backward_data();
  require_backward_weights();
  dnnl::memory input = user_memory(x_, x), output = user_memory(y_, y);
  dnnl::memory forward_filters = packed(w, forward_desc_.weights_desc());
  dnnl::memory backward_filters = packed(w, backward_data_desc_->weights_desc());
  dnnl::memory gradient(backward_weights_desc_->diff_weights_desc(), engine_);
  dnnl::memory input_gradient(x_, engine_);
  const auto milliseconds = [&](auto&& pass) {
    const auto start = std::chrono::steady_clock::now();
    pass();
    stream_.wait();
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  };
  std::vector<double> times;
  for (int i = 0; i < repeats; ++i) {
    times.push_back(milliseconds([&] {
      forward_.execute(stream_, {{DNNL_ARG_SRC, input}, {DNNL_ARG_WEIGHTS, forward_filters}, {DNNL_ARG_DST, output}});
    }));
    times.push_back(milliseconds([&] {
      backward_data_.execute(stream_, {{DNNL_ARG_DIFF_DST, output},
                                       {DNNL_ARG_WEIGHTS, backward_filters},
                                       {DNNL_ARG_DIFF_SRC, input_gradient}});
    }));
    times.push_back(milliseconds([&] {
      backward_weights_.execute(
          stream_, {{DNNL_ARG_SRC, input}, {DNNL_ARG_DIFF_DST, output}, {DNNL_ARG_DIFF_WEIGHTS, gradient}});
    }));
  }
  return times;
}

Convolution& DnnlState::convolution(const Convolution::Key& key) {
  auto& entry = convolutions[key];
  if (!entry) entry = std::make_unique<Convolution>(key, engine, stream);
  return *entry;
}

}  // namespace sn::cpu

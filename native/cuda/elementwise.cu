// Maps over elements, and their sum.
#include <numeric>

#include "core/dispatch.h"
#include "cuda/backend.h"
#include "cuda/elements.h"
#include "cuda/reduce.h"
#include "math/random.h"
#include "math/relu.h"

namespace sn::cuda {
namespace {

// Maps: functions of the index and of one element of each source --------------------------------------------------

template <typename T>
struct Relu {
  __device__ T operator()(std::int64_t, T x) const { return math::relu(x); }
};

template <typename T>
struct ReluBackward {
  __device__ T operator()(std::int64_t, T y, T dy) const { return math::relu_gradient(y, dy); }
};

template <typename T>
struct Add {
  __device__ T operator()(std::int64_t, T a, T b) const { return a + b; }
};

template <typename T>
struct Scale {
  T factor;
  __device__ T operator()(std::int64_t, T x) const { return x * factor; }
};

template <typename T>
struct Dropout {
  std::uint64_t key;
  std::int32_t threshold;
  T factor;
  __device__ T operator()(std::int64_t i, T x) const {
    const auto high = static_cast<std::uint32_t>(i >> 32), low = static_cast<std::uint32_t>(i);
    return math::random_level(key, high, low) < threshold ? T(0) : x * factor;
  }
};

template <typename T, typename Function, typename... Packs>
__device__ __forceinline__ Packed<T> map_pack(const Function& function, std::int64_t first, const Packs&... packs) {
  Packed<T> result;
  for (int i = 0; i < pack_size<T>; ++i) result.values[i] = function(first + i, packs.values[i]...);
  return result;
}

// In packs, and one by one what is left of them. `to` may be a source.
template <typename T, typename Function, typename... Sources>
__device__ __forceinline__ void map_elements(std::int64_t count, T* to, const Function& function, Sources... from) {
  const std::int64_t packs = count / pack_size<T>;
  for (std::int64_t pack = global_id(); pack < packs; pack += global_count()) {
    const std::int64_t first = pack * pack_size<T>;
    store(to + first, map_pack<T>(function, first, load<pack_size<T>>(from + first)...));
  }
  const std::int64_t last = packs * pack_size<T> + global_id();
  if (last < count) to[last] = function(last, from[last]...);
}

// Reads each source once, writes the target once: 2 T or 3 T.
template <typename T, typename Function, typename... Sources>
__global__ void __launch_bounds__(element_threads)
    map_kernel(std::int64_t count, T* to, Function function, Sources... from) {
  map_elements(count, to, function, from...);
}

// Reads x once, writes y once: 2 T.
template <typename T>
__global__ void __launch_bounds__(element_threads)
    scale_by_kernel(std::int64_t count, T* y, const T* factor, const T* x) {
  map_elements(count, y, Scale<T>{*factor}, x);
}

// Reads x once, writes y once: 2 T. The mask is made anew wherever it is needed.
template <typename T>
__global__ void __launch_bounds__(element_threads)
    dropout_kernel(std::int64_t count, T* y, DynamicScalar seed, std::int32_t threshold, T factor, const T* x) {
  const std::uint64_t key = math::random_key(static_cast<std::uint64_t>(seed.get()));
  map_elements(count, y, Dropout<T>{key, threshold, factor}, x);
}

template <typename T>
unsigned pack_blocks(std::int64_t count) {
  return element_blocks(ceil_div<std::int64_t>(count, pack_size<T>));
}

template <typename T, typename Function, typename... Sources>
void map(const char* op, cudaStream_t stream, const Tensor& to, const Function& function, Sources... from) {
  if (to.count() == 0) return;
  launch({op, stream, pack_blocks<T>(to.count()), element_threads}, map_kernel<T, Function, Sources...>, to.count(),
         to.write<T>(), function, from...);
}

// The sum ---------------------------------------------------------------------------------------------------------

// Reads x once: 1 T. Blocks leave one partial sum each, and a single block is enough for those.
template <typename From, typename To>
__global__ void __launch_bounds__(element_threads) sum_kernel(std::int64_t count, const From* x, To* sums) {
  const std::int64_t packs = count / pack_size<From>;
  double sum = 0;
  for (std::int64_t pack = global_id(); pack < packs; pack += global_count()) {
    const Packed<From> values = load<pack_size<From>>(x + pack * pack_size<From>);
    for (int i = 0; i < pack_size<From>; ++i) sum += static_cast<double>(values.values[i]);
  }
  const std::int64_t last = packs * pack_size<From> + global_id();
  if (last < count) sum += static_cast<double>(x[last]);
  sum = block_sum<element_threads>(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = static_cast<To>(sum);
}

constexpr std::int64_t sum_packs_a_thread = 8;
constexpr std::int64_t most_sum_blocks = layout_multiprocessors * 8;

template <typename T>
unsigned sum_blocks(std::int64_t count) {
  const std::int64_t threads = ceil_div<std::int64_t>(count, pack_size<T> * sum_packs_a_thread);
  return static_cast<unsigned>(std::clamp<std::int64_t>(threads / element_threads, 1, most_sum_blocks));
}

// Positive numbers: a few a network, one by one -------------------------------------------------------------------

template <typename T>
struct PositiveForward {
  const T* p;
  T* k;
  Positive kind;
  __device__ void operator()(std::int64_t i) const { k[i] = math::positive_value(p[i], kind); }
};

template <typename T>
struct PositiveBackward {
  const T* p;
  const T* dk;
  T* dp;
  Positive kind;
  __device__ void operator()(std::int64_t i) const { dp[i] = dk[i] * math::positive_slope(p[i], kind); }
};

// Channels --------------------------------------------------------------------------------------------------------

// Reads the copied channels once, writes them once, in whole units of memory.
template <typename Unit>
struct CopyChannels {
  const Unit* from;
  Unit* to;
  std::int64_t from_stride, to_stride;  // units from pixel to pixel
  __device__ void operator()(const ColumnThread& at) const {
    for (std::int64_t pixel = at.row; pixel < at.end; pixel += at.step) {
      to[pixel * to_stride + at.column] = from[pixel * from_stride + at.column];
    }
  }
};

// Calls function with the widest type that `bytes` is a multiple of.
template <typename Function>
void by_unit(std::int64_t bytes, Function&& function) {
  if (bytes % 16 == 0) return function(Pack<std::uint32_t, 4>{});
  if (bytes % 8 == 0) return function(Pack<std::uint32_t, 2>{});
  if (bytes % 4 == 0) return function(std::uint32_t{});
  function(std::uint8_t{});
}

}  // namespace

void CudaBackend::relu_forward(const Tensor& x, const Tensor& y) {
  by_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    map<T>("relu", stream_, y, Relu<T>{}, x.read<T>());
  });
}

void CudaBackend::relu_backward(const Tensor& y, const Tensor& dy, const Tensor& dx) {
  by_dtype(y.dtype, [&](auto tag) {
    using T = decltype(tag);
    map<T>("reluBackward", stream_, dx, ReluBackward<T>{}, y.read<T>(), dy.read<T>());
  });
}

void CudaBackend::add(const Tensor& a, const Tensor& b, const Tensor& out) {
  by_dtype(a.dtype, [&](auto tag) {
    using T = decltype(tag);
    map<T>("add", stream_, out, Add<T>{}, a.read<T>(), b.read<T>());
  });
}

void CudaBackend::scale(const Tensor& x, double factor, const Tensor& out) {
  by_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    map<T>("scale", stream_, out, Scale<T>{static_cast<T>(factor)}, x.read<T>());
  });
}

void CudaBackend::scale_by(const Tensor& x, const Tensor& factor, const Tensor& out) {
  if (x.count() == 0) return;
  by_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    launch({"scaleBy", stream_, pack_blocks<T>(x.count()), element_threads}, scale_by_kernel<T>, x.count(),
           out.write<T>(), factor.read<T>(), x.read<T>());
  });
}

void CudaBackend::sum(const Tensor& x, const Tensor& out) {
  by_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    const unsigned blocks = sum_blocks<T>(x.count());
    if (blocks == 1) {
      launch({"sum", stream_, 1, element_threads}, sum_kernel<T, T>, x.count(), x.read<T>(), out.write<T>());
      return;
    }
    const Tensor partials = scratch(DType::f64, {blocks});
    launch({"sum", stream_, blocks, element_threads}, sum_kernel<T, double>, x.count(), x.read<T>(),
           partials.write<double>());
    launch({"sum", stream_, 1, element_threads}, sum_kernel<double, T>, partials.count(), partials.read<double>(),
           out.write<T>());
  });
}

void CudaBackend::positive_forward(const Tensor& p, const Tensor& k, Positive kind) {
  by_dtype(p.dtype, [&](auto tag) {
    using T = decltype(tag);
    for_each_element("positive", stream_, p.count(), PositiveForward<T>{p.read<T>(), k.write<T>(), kind});
  });
}

void CudaBackend::positive_backward(const Tensor& p, const Tensor& dk, const Tensor& dp, Positive kind) {
  by_dtype(p.dtype, [&](auto tag) {
    using T = decltype(tag);
    for_each_element("positiveBackward", stream_, p.count(),
                     PositiveBackward<T>{p.read<T>(), dk.read<T>(), dp.write<T>(), kind});
  });
}

void CudaBackend::copy_channels(const Tensor& from, std::int64_t from_channel, const Tensor& to,
                                std::int64_t to_channel, std::int64_t channels) {
  const auto element = static_cast<std::int64_t>(size_of(from.dtype));
  const std::int64_t from_stride = from.shape.back() * element, to_stride = to.shape.back() * element;
  const std::int64_t from_offset = from_channel * element, to_offset = to_channel * element;
  const std::int64_t length = channels * element;
  std::int64_t common = length;
  for (std::int64_t bytes : {from_stride, to_stride, from_offset, to_offset}) common = std::gcd(common, bytes);
  by_unit(common, [&](auto unit) {
    using Unit = decltype(unit);
    constexpr std::int64_t size = sizeof(Unit);
    const RowGroups pixels{1, all_rows(from).rows, length / size};
    for_each_column("copyChannels", stream_, pixels, 1,
                    CopyChannels<Unit>{from.read<Unit>() + from_offset / size, to.write<Unit>() + to_offset / size,
                                       from_stride / size, to_stride / size});
  });
}

void CudaBackend::dropout(const Tensor& x, const Tensor& y, double probability, std::uint64_t seed) {
  if (x.count() == 0) return;
  by_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    launch({"dropout", stream_, pack_blocks<T>(x.count()), element_threads}, dropout_kernel<T>, x.count(), y.write<T>(),
           dynamic_scalar(static_cast<double>(seed)), math::dropout_threshold(probability),
           static_cast<T>(1 / (1 - probability)), x.read<T>());
  });
}

}  // namespace sn::cuda

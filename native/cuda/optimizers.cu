// Every parameter of a group in one launch: a table of tensors travels as the kernel's argument.
#include "core/dispatch.h"
#include "cuda/backend.h"
#include "cuda/rows.h"
#include "math/optimizers.h"

namespace sn::cuda {
namespace {

constexpr int threads = 256;
constexpr std::int64_t update_chunk = 1024, norm_chunk = 4096;  // elements of a block

// Operands: the pointers of one parameter. The blocks of tensor i are first_blocks[i] to first_blocks[i + 1].
template <typename Operands>
struct TensorTable {
  static constexpr int capacity = 512;

  Operands operands[capacity];
  std::int64_t counts[capacity];
  unsigned first_blocks[capacity + 1];
  int tensors;

  unsigned blocks() const { return first_blocks[tensors]; }
  void add(const Operands& tensor, std::int64_t count, std::int64_t chunk) {
    operands[tensors] = tensor;
    counts[tensors] = count;
    first_blocks[tensors + 1] = first_blocks[tensors] + static_cast<unsigned>(ceil_div(count, chunk));
    ++tensors;
  }
};

// Puts operands_of(i) of the tensors into tables and calls start(table) for each.
template <typename Operands, typename OperandsOf, typename Start>
void for_each_table(const std::vector<Tensor>& tensors, std::int64_t chunk, OperandsOf&& operands_of, Start&& start) {
  static_assert(sizeof(TensorTable<Operands>) <= 28 << 10, "a launch takes less than 32 KiB of arguments");
  TensorTable<Operands> table{};
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::int64_t count = tensors[i].count();
    if (count > 0) table.add(operands_of(i), count, chunk);
    const bool last = i + 1 == tensors.size();
    if (table.tensors == table.capacity || (last && table.tensors > 0)) {
      start(table);
      table.tensors = 0;
    }
  }
}

// What the block works on: elements [first, end) of one tensor.
struct Chunk {
  int tensor;
  std::int64_t first, end;
};

template <typename Operands>
__device__ Chunk chunk_of_block(const TensorTable<Operands>& table, std::int64_t chunk) {
  int low = 0, high = table.tensors;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (table.first_blocks[middle] <= blockIdx.x) {
      low = middle;
    } else {
      high = middle;
    }
  }
  const std::int64_t first = (blockIdx.x - table.first_blocks[low]) * chunk;
  const std::int64_t count = table.counts[low];
  return {low, first, first + chunk < count ? first + chunk : count};
}

// Update: names its Operands, the pointers of one parameter, and its width, and has apply<count>(operands, i) for the
// elements [i, i + count). Chunks start at whole packs; the last pack of a tensor may be short.
template <typename Update>
__global__ void __launch_bounds__(threads)
    update_tensors(const TensorTable<typename Update::Operands> table, const Update update) {
  constexpr int width = Update::width;
  const Chunk chunk = chunk_of_block(table, update_chunk);
  const auto operands = table.operands[chunk.tensor];
  SN_UNROLL(1)
  for (std::int64_t i = chunk.first + threadIdx.x * width; i < chunk.end; i += threads * width) {
    if (i + width <= chunk.end) {
      update.template apply<width>(operands, i);
    } else {
      SN_UNROLL(1)
      for (std::int64_t rest = i; rest < chunk.end; ++rest) update.template apply<1>(operands, rest);
    }
  }
}

// Reads four tensors and writes three: 7 T.
template <typename T>
struct Adam {
  struct Operands {
    T* parameter;
    const T* gradient;
    T* first_moment;
    T* second_moment;
  };
  static constexpr int width = pack_size<T>;

  math::AdamFactors<T> factors;

  template <int count>
  __device__ void apply(const Operands& tensor, std::int64_t i) const {
    auto parameter = load<count>(tensor.parameter + i);
    const auto gradient = load<count>(tensor.gradient + i);
    auto first = load<count>(tensor.first_moment + i), second = load<count>(tensor.second_moment + i);
    for (int k = 0; k < count; ++k) {
      math::adam_update(factors, gradient.values[k], parameter.values[k], first.values[k], second.values[k]);
    }
    store(tensor.parameter + i, parameter);
    store(tensor.first_moment + i, first);
    store(tensor.second_moment + i, second);
  }
};

template <typename T>
struct SgdBase {
  struct Operands {
    T* parameter;
    const T* gradient;
    T* velocity;
  };
  static constexpr int width = pack_size<T>;

  math::SgdFactors<T> factors;
};

// Reads three tensors and writes two: 5 T.
template <typename T>
struct Momentum : SgdBase<T> {
  template <int count>
  __device__ void apply(const typename SgdBase<T>::Operands& tensor, std::int64_t i) const {
    auto parameter = load<count>(tensor.parameter + i), velocity = load<count>(tensor.velocity + i);
    const auto gradient = load<count>(tensor.gradient + i);
    for (int k = 0; k < count; ++k) {
      math::sgd_update(this->factors, gradient.values[k], parameter.values[k], velocity.values[k]);
    }
    store(tensor.parameter + i, parameter);
    store(tensor.velocity + i, velocity);
  }
};

// Reads two tensors and writes one: 3 T.
template <typename T>
struct Descent : SgdBase<T> {
  template <int count>
  __device__ void apply(const typename SgdBase<T>::Operands& tensor, std::int64_t i) const {
    auto parameter = load<count>(tensor.parameter + i);
    const auto gradient = load<count>(tensor.gradient + i);
    for (int k = 0; k < count; ++k) math::sgd_update(this->factors, gradient.values[k], parameter.values[k]);
    store(tensor.parameter + i, parameter);
  }
};

template <typename Update, typename OperandsOf>
void update_all(const char* op, cudaStream_t stream, const std::vector<Tensor>& parameters, const Update& update,
                OperandsOf&& operands_of) {
  using Operands = typename Update::Operands;
  for_each_table<Operands>(parameters, update_chunk, operands_of, [&](const TensorTable<Operands>& table) {
    launch({op, stream, table.blocks(), threads}, update_tensors<Update>, table, update);
  });
}

// Sum of squares of each chunk, in float64: a gradient of 1e20 has a norm. Reads the tensors once: 1 T.
template <typename T>
__global__ void __launch_bounds__(threads) sum_squares(const TensorTable<const T*> table, double* partials) {
  constexpr int width = pack_size<T>;
  const Chunk chunk = chunk_of_block(table, norm_chunk);
  const T* values = table.operands[chunk.tensor];
  double squares = 0;
  for (std::int64_t i = chunk.first + threadIdx.x * width; i < chunk.end; i += threads * width) {
    if (i + width <= chunk.end) {
      for (T value : load<width>(values + i).values) squares += double(value) * double(value);
    } else {
      for (std::int64_t rest = i; rest < chunk.end; ++rest) squares += double(values[rest]) * double(values[rest]);
    }
  }
  squares = block_sum<threads>(squares);
  if (threadIdx.x == 0) partials[blockIdx.x] = squares;
}

std::int64_t count_chunks(const std::vector<Tensor>& tensors, std::int64_t chunk) {
  std::int64_t chunks = 0;
  for (const Tensor& tensor : tensors) chunks += ceil_div(tensor.count(), chunk);
  return chunks;
}

}  // namespace

void CudaBackend::adam_step(const std::vector<Tensor>& parameters, const std::vector<Tensor>& gradients,
                            const std::vector<Tensor>& first_moments, const std::vector<Tensor>& second_moments,
                            const AdamOptions& options) {
  if (parameters.empty()) return;
  by_dtype(parameters[0].dtype, [&](auto tag) {
    using T = decltype(tag);
    const Adam<T> adam{math::adam_factors<T>(options)};
    update_all("adam_step", stream_, parameters, adam, [&](std::size_t i) {
      return typename Adam<T>::Operands{parameters[i].write<T>(), gradients[i].read<T>(), first_moments[i].write<T>(),
                                        second_moments[i].write<T>()};
    });
  });
}

void CudaBackend::sgd_step(const std::vector<Tensor>& parameters, const std::vector<Tensor>& gradients,
                           const OptionalTensors& velocities, const SgdOptions& options) {
  if (parameters.empty()) return;
  by_dtype(parameters[0].dtype, [&](auto tag) {
    using T = decltype(tag);
    const SgdBase<T> base{math::sgd_factors<T>(options)};
    const bool momentum = !velocities.empty();
    const auto operands = [&](std::size_t i) {
      return typename SgdBase<T>::Operands{parameters[i].write<T>(), gradients[i].read<T>(),
                                           momentum ? velocities[i].write<T>() : nullptr};
    };
    if (momentum) {
      update_all("sgd_step", stream_, parameters, Momentum<T>{base}, operands);
    } else {
      update_all("sgd_step", stream_, parameters, Descent<T>{base}, operands);
    }
  });
}

void CudaBackend::global_norm(const std::vector<Tensor>& tensors, const Tensor& out) {
  const std::int64_t chunks = count_chunks(tensors, norm_chunk);
  const Tensor partials = scratch(DType::f64, {chunks});
  by_dtype(out.dtype, [&](auto tag) {
    using T = decltype(tag);
    double* next = partials.write<double>();
    const auto values_of = [&](std::size_t i) { return tensors[i].read<T>(); };
    for_each_table<const T*>(tensors, norm_chunk, values_of, [&](const TensorTable<const T*>& table) {
      launch({"global_norm", stream_, table.blocks(), threads}, sum_squares<T>, table, next);
      next += table.blocks();
    });
  });
  sum_into("global_norm", stream_, partials, SquareRoot{}, out);
}

}  // namespace sn::cuda

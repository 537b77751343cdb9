// f32 by oneDNN. Primitives are made anew each time: oneDNN keeps them by shape itself, which costs 3 microseconds a
// call and leaves no state here. Plain loops for what takes less than that, and for f64, which serves gradient checks.
#include "core/dispatch.h"
#include "cpu/backend.h"
#include "cpu/dnnl.h"
#include "cpu/threads.h"

namespace sn::cpu {
namespace {

// A matrix as an operator sees it, transposed or not.
struct Matrix {
  const Tensor& tensor;
  bool transposed;

  std::int64_t rows() const { return tensor.shape[transposed ? 1 : 0]; }
  std::int64_t columns() const { return tensor.shape[transposed ? 0 : 1]; }
  std::int64_t row_stride() const { return transposed ? 1 : tensor.shape[1]; }
  std::int64_t column_stride() const { return transposed ? tensor.shape[1] : 1; }
};

dnnl::memory::desc describe(const Matrix& matrix) {
  return {{matrix.rows(), matrix.columns()},
          dnnl::memory::data_type::f32,
          dnnl::memory::dims{matrix.row_stride(), matrix.column_stride()}};
}

template <typename... Descs>
dnnl::matmul make_matmul(const dnnl::engine& engine, const Descs&... descs) {
#if DNNL_VERSION_MAJOR >= 3
  return dnnl::matmul(dnnl::matmul::primitive_desc(engine, descs...));
#else
  return dnnl::matmul(dnnl::matmul::primitive_desc(dnnl::matmul::desc(descs...), engine));
#endif
}

void multiply(DnnlState& dnnl, const Matrix& a, const Matrix& b, const Tensor& bias, const Tensor& c) {
  const ThreadsFor threads(a.rows() * a.columns() * b.columns());
  const auto memory = [&](const dnnl::memory::desc& desc, const float* data) {
    // oneDNN has no type for memory it only reads.
    return dnnl::memory(desc, dnnl.engine, const_cast<float*>(data));
  };
  const auto a_desc = describe(a), b_desc = describe(b), c_desc = describe(Matrix{c, false});
  std::unordered_map<int, dnnl::memory> arguments{{DNNL_ARG_SRC, memory(a_desc, a.tensor.read<float>())},
                                                  {DNNL_ARG_WEIGHTS, memory(b_desc, b.tensor.read<float>())},
                                                  {DNNL_ARG_DST, memory(c_desc, c.write<float>())}};
  if (bias) {
    const dnnl::memory::desc bias_desc({1, c.shape[1]}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::ab);
    arguments.emplace(DNNL_ARG_BIAS, memory(bias_desc, bias.read<float>()));
    make_matmul(dnnl.engine, a_desc, b_desc, bias_desc, c_desc).execute(dnnl.stream, arguments);
  } else {
    make_matmul(dnnl.engine, a_desc, b_desc, c_desc).execute(dnnl.stream, arguments);
  }
  dnnl.stream.wait();
}

template <typename T>
void multiply_plainly(const Matrix& a, const Matrix& b, const T* bias, T* c) {
  const T* left = a.tensor.read<T>();
  const T* right = b.tensor.read<T>();
  const std::int64_t width = b.columns();
#pragma omp parallel for schedule(static) if (a.rows() * a.columns() * width > 65536)
  for (std::int64_t row = 0; row < a.rows(); ++row) {
    T* out = c + row * width;
    for (std::int64_t column = 0; column < width; ++column) out[column] = bias != nullptr ? bias[column] : T(0);
    for (std::int64_t inner = 0; inner < a.columns(); ++inner) {
      const T factor = left[row * a.row_stride() + inner * a.column_stride()];
      const T* values = right + inner * b.row_stride();
      const std::int64_t step = b.column_stride();
      for (std::int64_t column = 0; column < width; ++column) out[column] += factor * values[column * step];
    }
  }
}

}  // namespace

void CpuBackend::matmul(const Tensor& a, const Tensor& b, const OptionalTensor& bias, const Tensor& c, bool transpose_a,
                        bool transpose_b) {
  const Matrix left{a, transpose_a}, right{b, transpose_b};
  constexpr std::int64_t least_products = 4096;
  if (c.dtype == DType::f32 && c.count() * left.columns() >= least_products) {
    multiply(*dnnl_, left, right, bias, c);
  } else {
    by_dtype(c.dtype, [&](auto tag) {
      using T = decltype(tag);
      multiply_plainly(left, right, bias.read<T>(), c.write<T>());
    });
  }
}

}  // namespace sn::cpu

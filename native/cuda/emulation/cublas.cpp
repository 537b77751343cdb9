// cuBLAS for the emulated device: checks what the real one checks, rounds operands as it does, adds up in float64.
#include <vector>

#include "cuda/cublas.h"
#include "cuda/emulation/device.h"
#include "math/rounding.h"

namespace sn::cuda {

struct CublasContext {
  cudaStream_t stream;
};

namespace {

constexpr int success = 0, invalid_value = 7;

struct Operand {
  const void* data;
  CublasType type;
  CublasOperation operation;
  int ld;
};

double rounded(float value, CublasCompute compute) {
  if (compute == cublas_compute_f32_as_tf32) return math::round_to_tf32(value);
  if (compute == cublas_compute_f32_as_bf16) return math::to_float(math::to_bfloat16(value));
  return value;
}

double element(const Operand& operand, std::int64_t index, CublasCompute compute) {
  switch (operand.type) {
    case cublas_f64: return static_cast<const double*>(operand.data)[index];
    case cublas_bf16: return math::to_float(static_cast<const math::Bfloat16*>(operand.data)[index]);
    default: return rounded(static_cast<const float*>(operand.data)[index], compute);
  }
}

// op(operand), rows x columns, row by row.
std::vector<double> unpack(const Operand& operand, int rows, int columns, CublasCompute compute) {
  std::vector<double> values(static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns));
  for (int row = 0; row < rows; ++row) {
    for (int column = 0; column < columns; ++column) {
      const bool transposed = operand.operation == cublas_transposed;
      const std::int64_t index =
          transposed ? column + std::int64_t{row} * operand.ld : row + std::int64_t{column} * operand.ld;
      values[static_cast<std::size_t>(row) * static_cast<std::size_t>(columns) + static_cast<std::size_t>(column)] =
          element(operand, index, compute);
    }
  }
  return values;
}

template <typename T>
void multiply(const Operand& a, const Operand& b, T beta, T* c, int c_ld, int m, int n, int k, CublasCompute compute) {
  const std::vector<double> left = unpack(a, m, k, compute), right = unpack(b, k, n, compute);
#pragma omp parallel for schedule(static) if (std::int64_t{m} * n * k > 65536)
  for (int row = 0; row < m; ++row) {
    std::vector<double> sums(static_cast<std::size_t>(n), 0.0);
    for (int inner = 0; inner < k; ++inner) {
      const double factor =
          left[static_cast<std::size_t>(row) * static_cast<std::size_t>(k) + static_cast<std::size_t>(inner)];
      const double* values = right.data() + static_cast<std::size_t>(inner) * static_cast<std::size_t>(n);
#pragma omp simd
      for (int column = 0; column < n; ++column) sums[static_cast<std::size_t>(column)] += factor * values[column];
    }
    for (int column = 0; column < n; ++column) {
      T& target = c[row + std::int64_t{column} * c_ld];
      // beta = 0 must not read what may be NaN.
      const double before = beta == T(0) ? 0 : static_cast<double>(beta) * static_cast<double>(target);
      target = static_cast<T>(sums[static_cast<std::size_t>(column)] + before);
    }
  }
}

std::size_t size_of(CublasType type) { return type == cublas_f64 ? 8 : type == cublas_bf16 ? 2 : 4; }

const void* moved(const void* data, CublasType type, long long elements) {
  return static_cast<const char*>(data) + elements * static_cast<long long>(size_of(type));
}

int create(CublasHandle* handle) {
  *handle = new CublasContext{nullptr};
  return success;
}
int destroy(CublasHandle handle) {
  delete handle;
  return success;
}
int get_property(CublasProperty property, int* value) {
  *value = property == cublas_major ? 13 : 0;
  return success;
}
int set_stream(CublasHandle handle, cudaStream_t stream) {
  handle->stream = stream;
  return success;
}
int set_workspace(CublasHandle, void*, std::size_t) { return success; }

int gemm(CublasHandle handle, CublasOperation a_op, CublasOperation b_op, int m, int n, int k, const void* alpha,
         const void* a, CublasType a_type, int a_ld, long long a_stride, const void* b, CublasType b_type, int b_ld,
         long long b_stride, const void* beta, void* c, CublasType c_type, int c_ld, long long c_stride, int count,
         CublasCompute compute, int) {
  const bool fits = m > 0 && n > 0 && k > 0 && count > 0 && a_ld >= (a_op == cublas_as_it_is ? m : k) &&
                    b_ld >= (b_op == cublas_as_it_is ? k : n) && c_ld >= m && a_type == b_type;
  const bool wide = c_type == cublas_f64;
  if (!fits || wide != (compute == cublas_compute_f64) || wide != (a_type == cublas_f64)) return invalid_value;
  if (a_type == cublas_bf16 && compute != cublas_compute_f32) return invalid_value;
  const double alpha_value = wide ? *static_cast<const double*>(alpha) : *static_cast<const float*>(alpha);
  const double beta_value = wide ? *static_cast<const double*>(beta) : *static_cast<const float*>(beta);
  if (alpha_value != 1) return invalid_value;  // no call site scales
  emulation::submit(handle->stream, "gemm", [=] {
    for (int i = 0; i < count; ++i) {
      const Operand left{moved(a, a_type, i * a_stride), a_type, a_op, a_ld};
      const Operand right{moved(b, b_type, i * b_stride), b_type, b_op, b_ld};
      if (wide) {
        multiply(left, right, beta_value, static_cast<double*>(c) + i * c_stride, c_ld, m, n, k, compute);
      } else {
        multiply(left, right, static_cast<float>(beta_value), static_cast<float*>(c) + i * c_stride, c_ld, m, n, k,
                 compute);
      }
    }
  });
  return success;
}

}  // namespace

const CublasLibrary& cublas_library() {
  static const CublasLibrary library{
      true, {create, destroy, get_property, set_stream, set_workspace, gemm}, "emulated on the host", ""};
  return library;
}

}  // namespace sn::cuda

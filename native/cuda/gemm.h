// Matrix products by cuBLAS, row-major as everything here is.
#pragma once

#include <cstdint>

#include "core/backend.h"
#include "cuda/cublas.h"
#include "math/rounding.h"

namespace sn::cuda {

// One matrix of each product of a batch.
template <typename T>
struct Matrix {
  T* data;
  std::int64_t ld;          // elements from row to row
  bool transposed = false;  // the operand is the transpose of these data
  std::int64_t stride = 0;  // elements from product to product
};

class Gemm {
 public:
  explicit Gemm(cudaStream_t stream);
  ~Gemm();
  Gemm(const Gemm&) = delete;
  Gemm& operator=(const Gemm&) = delete;

  // Workspace for cuBLAS, so that it allocates nothing itself.
  void set_workspace(void* workspace, std::size_t bytes);

  struct Extents {
    std::int64_t rows, columns, inner;
    std::int64_t count = 1;
  };

  // c = a b, or c += a b: `rows` x `inner` by `inner` x `columns`. f32 operands are rounded as `precision` says.
  // In and Out: float and float, double and double, Bfloat16 and float.
  template <typename In, typename Out>
  void multiply(const char* op, const Extents&, const Matrix<const In>& a, const Matrix<const In>& b,
                const Matrix<Out>& c, Precision, bool accumulate = false) const;

 private:
  const CublasFunctions& cublas_;
  CublasHandle handle_ = nullptr;
};

}  // namespace sn::cuda

#include "cuda/gemm.h"

#include <limits>
#include <string>

#include "core/error.h"

namespace sn::cuda {
namespace {

void check_cublas(int status, const char* op) {
  if (status != 0) {
    throw Error(ErrorCode::device, op,
                std::string("cuBLAS failed in ") + op + " with status " + std::to_string(status));
  }
}

const CublasFunctions& require_cublas() {
  const CublasLibrary& library = cublas_library();
  if (!library.found) throw Error(ErrorCode::device, "device", library.reason);
  return library.functions;
}

CublasCompute compute_of(CublasType in, Precision precision) {
  if (in == cublas_f64) return cublas_compute_f64;
  if (in == cublas_bf16 || precision == Precision::fp32) return cublas_compute_f32;
  return precision == Precision::tf32 ? cublas_compute_f32_as_tf32 : cublas_compute_f32_as_bf16;
}

int narrow(std::int64_t extent, const char* op) {
  if (extent > std::numeric_limits<int>::max()) {
    throw Error(ErrorCode::shape, op,
                std::string(op) + " has an extent of " + std::to_string(extent) + ", cuBLAS takes at most 2^31 - 1");
  }
  return static_cast<int>(extent);
}

constexpr CublasType cublas_type(float) { return cublas_f32; }
constexpr CublasType cublas_type(double) { return cublas_f64; }
constexpr CublasType cublas_type(math::Bfloat16) { return cublas_bf16; }

CublasOperation operation_of(bool transposed) { return transposed ? cublas_transposed : cublas_as_it_is; }

}  // namespace

Gemm::Gemm(cudaStream_t stream) : cublas_(require_cublas()) {
  check_cublas(cublas_.create(&handle_), "cublasCreate");
  check_cublas(cublas_.set_stream(handle_, stream), "cublasSetStream");
}

Gemm::~Gemm() { cublas_.destroy(handle_); }

void Gemm::set_workspace(void* workspace, std::size_t bytes) {
  check_cublas(cublas_.set_workspace(handle_, workspace, bytes), "cublasSetWorkspace");
}

// A row-major matrix is the transpose of a column-major one, and c' = b' a'.
template <typename In, typename Out>
void Gemm::multiply(const char* op, const Extents& extents, const Matrix<const In>& a, const Matrix<const In>& b,
                    const Matrix<Out>& c, Precision precision, bool accumulate) const {
  const Out one = 1, beta = accumulate ? 1 : 0;
  const CublasType in = cublas_type(In{}), out = cublas_type(Out{});
  const int status =
      cublas_.gemm(handle_, operation_of(b.transposed), operation_of(a.transposed), narrow(extents.columns, op),
                   narrow(extents.rows, op), narrow(extents.inner, op), &one, b.data, in, narrow(b.ld, op), b.stride,
                   a.data, in, narrow(a.ld, op), a.stride, &beta, c.data, out, narrow(c.ld, op), c.stride,
                   narrow(extents.count, op), compute_of(in, precision), cublas_default_algorithm);
  check_cublas(status, op);
}

template void Gemm::multiply(const char*, const Extents&, const Matrix<const float>&, const Matrix<const float>&,
                             const Matrix<float>&, Precision, bool) const;
template void Gemm::multiply(const char*, const Extents&, const Matrix<const double>&, const Matrix<const double>&,
                             const Matrix<double>&, Precision, bool) const;
template void Gemm::multiply(const char*, const Extents&, const Matrix<const math::Bfloat16>&,
                             const Matrix<const math::Bfloat16>&, const Matrix<float>&, Precision, bool) const;

}  // namespace sn::cuda

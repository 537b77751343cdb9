// The few functions of cuBLAS in use, resolved at run time: the addon loads where there is none. Its C ABI is stable
// over the versions 12 and 13; the values of the enumerations are NVIDIA's.
#pragma once

#include <cstddef>
#include <string>

#include <cuda_runtime.h>

namespace sn::cuda {

struct CublasContext;
using CublasHandle = CublasContext*;

enum CublasOperation : int { cublas_as_it_is = 0, cublas_transposed = 1 };
enum CublasType : int { cublas_f32 = 0, cublas_f64 = 1, cublas_bf16 = 14 };
enum CublasCompute : int {
  cublas_compute_f32 = 68,
  cublas_compute_f64 = 70,
  cublas_compute_f32_as_bf16 = 75,
  cublas_compute_f32_as_tf32 = 77,
};
enum CublasProperty : int { cublas_major = 0, cublas_minor = 1, cublas_patch = 2 };
constexpr int cublas_default_algorithm = -1;

// Each returns 0 on success.
struct CublasFunctions {
  int (*create)(CublasHandle*);
  int (*destroy)(CublasHandle);
  int (*get_property)(CublasProperty, int*);
  int (*set_stream)(CublasHandle, cudaStream_t);
  int (*set_workspace)(CublasHandle, void*, std::size_t);
  // Column-major: c = alpha op(a) op(b) + beta c for each of `count` matrices, `stride` elements apart.
  int (*gemm)(CublasHandle, CublasOperation a_op, CublasOperation b_op, int m, int n, int k, const void* alpha,
              const void* a, CublasType a_type, int a_ld, long long a_stride, const void* b, CublasType b_type,
              int b_ld, long long b_stride, const void* beta, void* c, CublasType c_type, int c_ld, long long c_stride,
              int count, CublasCompute compute, int algorithm);
};

struct CublasLibrary {
  bool found;
  CublasFunctions functions;
  std::string path;    // as the loader knows it
  std::string reason;  // where it was not found: the places searched and what to install
};

// Looked for once a process: SPHERENET_CUBLAS, the loader's path, the toolkit's usual places, Python's wheels.
const CublasLibrary& cublas_library();

}  // namespace sn::cuda

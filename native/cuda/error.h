// Every return code of CUDA is checked here and becomes an Error that names the operator.
#pragma once

#include <cuda_runtime.h>

namespace sn::cuda {

[[noreturn]] void throw_cuda_error(cudaError_t code, const char* op);

inline void check(cudaError_t code, const char* op) {
  if (code != cudaSuccess) throw_cuda_error(code, op);
}

}  // namespace sn::cuda

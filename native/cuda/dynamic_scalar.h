// A number that may change from one replay of a captured graph to the next: kernels read it from `slot` where there is
// one. CudaBackend::dynamic_scalar() makes them.
#pragma once

#include <cuda_runtime.h>

namespace sn::cuda {

struct DynamicScalar {
  double value;
  const double* slot;

  __device__ double get() const { return slot != nullptr ? *slot : value; }
};

}  // namespace sn::cuda

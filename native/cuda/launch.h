// The one way to start a kernel: launch({op, stream, grid, block}, kernel, arguments...).
//
// Comments at kernels count what they move from and to memory in T, the size of one of their tensors: "Reads x once,
// writes y once: 2 T". Unless they say otherwise, that is the minimum memory traffic of the operator.
#pragma once

#include <cstdint>

#include "cuda/error.h"
#include "cuda/layout.h"

namespace sn::cuda {

struct Launch {
  const char* op;  // the operator's name, for errors
  cudaStream_t stream;
  dim3 grid, block;
  std::size_t shared_bytes = 0;
};

}  // namespace sn::cuda

#if defined(SN_EMULATION)
#include "cuda/emulation/launch.h"
#else

namespace sn::cuda {

template <typename... Parameters, typename... Arguments>
void launch(const Launch& how, void (*kernel)(Parameters...), Arguments... arguments) {
  kernel<<<how.grid, how.block, how.shared_bytes, how.stream>>>(static_cast<Parameters>(arguments)...);
  check(cudaGetLastError(), how.op);
}

}  // namespace sn::cuda
#endif

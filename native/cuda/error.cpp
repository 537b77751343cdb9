#include "cuda/error.h"

#include <string>

#include "core/error.h"

namespace sn::cuda {

void throw_cuda_error(cudaError_t code, const char* op) {
  throw Error(ErrorCode::device, op, std::string("cuda failed in ") + op + ": " + cudaGetErrorString(code));
}

}  // namespace sn::cuda

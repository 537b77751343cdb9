// The label of the sample that a block works on.
#pragma once

#include <cstdint>

#include "cuda/primitives.h"

namespace sn::cuda {

// A label that is no class is not valid; its index is that of the nearest class, so that reading stays in bounds.
struct Label {
  int index;
  bool valid;
};

__device__ __forceinline__ Label read_label(const std::int32_t* labels, int classes) {
  const int label = labels[blockIdx.x];
  const int index = label < 0 ? 0 : label < classes ? label : classes - 1;
  return {index, index == label};
}

}  // namespace sn::cuda

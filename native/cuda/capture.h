// A graph in the making.
#pragma once

#include "cuda/backend.h"

namespace sn::cuda {

struct Capture {
  static constexpr int most_scalars = 256;

  std::uint64_t id;
  std::shared_ptr<Allocator> usual;  // allocator of the backend before and after
  std::shared_ptr<Storage> slots;    // most_scalars doubles
  int used = 0;
};

}  // namespace sn::cuda

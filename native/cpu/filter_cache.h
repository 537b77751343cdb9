// What is derived from filters and kept with them until they change.
#pragma once

#include <cstdint>
#include <vector>

#include "core/backend.h"
#include "cpu/dnnl.h"

namespace sn::cpu {

struct FilterCache {
  struct Packed {
    dnnl::memory::desc layout;
    dnnl::memory memory;
    std::uint64_t revision;
  };
  std::vector<Packed> packed;  // in the layouts that oneDNN's primitives have asked for

  // For Winograd's algorithm, the way that was last: forward, or back to the input's gradient. Each is at least four
  // times the filters, and no training goes twice the same way with the same filters.
  struct Transformed {
    Tensor filters;
    bool back = false;
    std::uint64_t revision = 0;
  } winograd;

  Tensor unit, inverse_norms;  // w/|w| and 1/|w| (SphereConv)
  NormGuard guard{};
  std::uint64_t unit_revision = 0;
};

}  // namespace sn::cpu

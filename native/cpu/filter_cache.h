// What is derived from filters and kept with them until they change.
#pragma once

#include <array>
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

  struct Transformed {
    Tensor filters;
    std::uint64_t revision = 0;
  };
  std::array<Transformed, 2> winograd;  // forward, and back to the input's gradient

  Tensor unit, inverse_norms;  // w/|w| and 1/|w| (SphereConv)
  NormGuard guard{};
  std::uint64_t unit_revision = 0;
};

inline FilterCache& filter_cache(const Tensor& w) {
  if (!w.storage->derived) w.storage->derived = std::make_shared<FilterCache>();
  return *static_cast<FilterCache*>(w.storage->derived.get());
}

}  // namespace sn::cpu

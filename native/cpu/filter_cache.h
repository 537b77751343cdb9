// What is derived from filters and kept with them (Tensor::derived) until they change.
#pragma once

#include <algorithm>
#include <cstdint>
#include <list>

#include "core/backend.h"
#include "cpu/dnnl.h"

namespace sn::cpu {

// The filters in the layouts that oneDNN's primitives ask for, those of the latest requests.
class PackedFilters {
 public:
  // A forward and a backward pass, for whole chunks and for what is left of the last one, may each want a layout.
  static constexpr std::size_t capacity = 4;

  struct Entry {
    dnnl::memory::desc layout;
    dnnl::memory memory;
    bool filled;
    std::uint64_t revision;  // of the filters that it was filled from
  };

  Entry& in(const dnnl::memory::desc& layout, const dnnl::engine& engine) {
    const auto found =
        std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.layout == layout; });
    if (found != entries_.end()) {
      entries_.splice(entries_.begin(), entries_, found);
    } else {
      entries_.push_front({layout, dnnl::memory(layout, engine), false, 0});
      if (entries_.size() > capacity) entries_.pop_back();
    }
    return entries_.front();
  }
  std::size_t size() const { return entries_.size(); }

 private:
  std::list<Entry> entries_;  // the latest first
};

struct FilterCache {
  PackedFilters packed;

  // The latest Winograd transform, for the forward pass or (`back`) for the gradient of the input. One is enough: it is
  // at least four times as large as the filters, and training changes the filters before it needs the same one again.
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

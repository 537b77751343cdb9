// What JavaScript holds of tensors and graphs: externals that point to boxes. A table knows the boxes of its
// environment, so that an external of somebody else is an error and is never read.
#pragma once

#include <napi.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#include "core/backend.h"

namespace sn::binding {

class HandleTable;

// Emptied by `release`, after which the handle can be filled again; freed by the garbage collector.
struct TensorBox {
  std::shared_ptr<HandleTable> table;
  Tensor tensor;
  std::int64_t bytes = 0;  // as reported to the garbage collector; 0 for a second view of the same memory
};

// Emptied by `releaseGraph`, freed by the garbage collector.
struct GraphBox {
  std::shared_ptr<HandleTable> table;
  std::unique_ptr<CapturedGraph> graph;
};

// Boxes in slabs: whether a pointer is one of them is seen from its address, without reading what it points to.
template <typename Box>
class BoxPool {
 public:
  Box* make(Box box) {
    if (free_.empty()) add_slab();
    Slot* slot = free_.back();
    free_.pop_back();
    slot->used = true;
    return new (slot->memory) Box(std::move(box));
  }
  void remove(Box* box) {
    box->~Box();
    auto* slot = reinterpret_cast<Slot*>(box);
    slot->used = false;
    free_.push_back(slot);
  }
  Box* find(void* pointer) const {
    // The last slab that begins at or before the pointer.
    const auto after = std::upper_bound(slabs_.begin(), slabs_.end(), pointer, begins_after);
    if (after == slabs_.begin()) return nullptr;
    const std::uintptr_t offset = address_of(pointer) - address_of((after - 1)->get());
    auto* slot = static_cast<Slot*>(pointer);
    const bool is_slot = offset < slab_size * sizeof(Slot) && offset % sizeof(Slot) == 0;
    return is_slot && slot->used ? reinterpret_cast<Box*>(slot) : nullptr;
  }

 private:
  static constexpr std::size_t slab_size = 1024;
  struct Slot {
    alignas(Box) unsigned char memory[sizeof(Box)];  // at the slot's own address
    bool used = false;
  };

  using Slab = std::unique_ptr<Slot[]>;

  static std::uintptr_t address_of(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }
  static bool begins_after(const void* pointer, const Slab& slab) {
    return address_of(pointer) < address_of(slab.get());
  }

  void add_slab() {
    Slab slab = std::make_unique<Slot[]>(slab_size);
    for (std::size_t i = slab_size; i > 0; --i) free_.push_back(&slab[i - 1]);
    slabs_.insert(std::upper_bound(slabs_.begin(), slabs_.end(), slab.get(), begins_after), std::move(slab));
  }

  std::vector<Slab> slabs_;  // by address
  std::vector<Slot*> free_;
};

// Handles may be collected after the environment's own data: each of them holds on to the table.
//
// The table also tells the garbage collector of native memory. It starts a collection whenever the number it is told
// has grown enough, and a training step takes and gives back hundreds of megabytes: so it hears of growth past what it
// knows already, and of memory that it has itself set free by collecting a forgotten tensor, but not of every release.
// A loop that releases what it makes tells it nothing; one that forgets tensors makes it collect them.
class HandleTable : public std::enable_shared_from_this<HandleTable> {
 public:
  // A handle for the tensor.
  Napi::Value make(Napi::Env env, Tensor tensor);
  Napi::Value make(Napi::Env env, std::unique_ptr<CapturedGraph> graph);
  // Fills a box that is empty.
  void fill(Napi::BasicEnv env, TensorBox& box, Tensor tensor);
  void release(TensorBox& box);

  // The box that a handle points to; null for anything else.
  TensorBox* tensor_box(napi_env env, napi_value value) const { return find(env, value, tensors_); }
  GraphBox* graph_box(napi_env env, napi_value value) const { return find(env, value, graphs_); }

 private:
  template <typename Box>
  static Box* find(napi_env env, napi_value value, const BoxPool<Box>& boxes) {
    void* data = nullptr;
    return napi_get_value_external(env, value, &data) == napi_ok ? boxes.find(data) : nullptr;
  }
  void collected(Napi::BasicEnv env, TensorBox* box);
  void adjust(Napi::BasicEnv env, std::int64_t change);

  BoxPool<TensorBox> tensors_;
  BoxPool<GraphBox> graphs_;
  std::int64_t live_ = 0;
  std::int64_t reported_ = 0;
};

}  // namespace sn::binding

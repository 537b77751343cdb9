// Caching allocator. A training step asks for the same sizes every time, and fresh pages cost more than the
// arithmetic on them: a block is kept when it is released and handed out again for a request of its size class.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <vector>

#include "core/backend.h"

namespace sn::cpu {

class Allocator {
 public:
  Allocator() = default;
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  // 64-byte aligned, contents undefined. Throws Error(device, "memory") when the system has no more even after
  // the cache was given back.
  void* allocate(std::size_t bytes);
  void release(void* block, std::size_t bytes);

  MemoryStats stats() const;
  void reset_peak();
  void release_cache();

 private:
  // The image pipeline allocates on another thread.
  mutable std::mutex mutex_;
  std::map<std::size_t, std::vector<void*>> free_;
  MemoryStats stats_{};
};

}  // namespace sn::cpu

// Caching allocator, the same for every device. A training step asks for the same sizes every time, and fresh memory
// costs more than the arithmetic on it: a block is kept when it is released and handed out again for a request of its
// size class. On CUDA that is safe without waiting, because all work on such memory goes through one stream in order.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "core/memory.h"
#include "core/tensor.h"

namespace sn {

// Where the blocks come from.
class MemorySource {
 public:
  virtual ~MemorySource() = default;
  virtual const char* device() const = 0;         // as users name it
  virtual void* allocate(std::size_t bytes) = 0;  // nullptr where there is no more
  virtual void release(void* block) = 0;
};

// What becomes of released blocks.
enum class Reuse {
  cached,    // handed out again; given back when memory runs out
  pinned,    // handed out again; never given back of itself, since a captured graph writes them
  immediate  // given back at once, and of the exact size: the address sanitizer sees every step too far or too late
};
#if defined(__SANITIZE_ADDRESS__)
constexpr Reuse usual_reuse = Reuse::immediate;
#else
constexpr Reuse usual_reuse = Reuse::cached;
#endif

class Allocator {
 public:
  explicit Allocator(std::shared_ptr<MemorySource> source, Reuse reuse = usual_reuse)
      : source_(std::move(source)), reuse_(reuse) {}
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  // Aligned to 64 bytes at least, contents undefined. Throws Error(device, "memory") when the source has no more even
  // after the cache was given back.
  void* allocate(std::size_t bytes);
  void release(void* block, std::size_t bytes);

  MemoryStats stats() const;
  void reset_peak();
  void release_cache();

 private:
  std::size_t block_size(std::size_t bytes) const;
  void empty_cache();

  const std::shared_ptr<MemorySource> source_;
  const Reuse reuse_;
  // The image pipeline allocates on another thread.
  mutable std::mutex mutex_;
  std::map<std::size_t, std::vector<void*>> free_;
  MemoryStats stats_{};
};

// A Storage that gives its block back. It may outlive its backend when an environment is torn down: it shares the
// allocator.
std::shared_ptr<Storage> allocate_storage(Backend& backend, const std::shared_ptr<Allocator>& allocator,
                                          std::size_t bytes);

}  // namespace sn

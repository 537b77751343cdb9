#include "cpu/allocator.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "core/error.h"

namespace sn::cpu {
namespace {

constexpr std::size_t huge_page = std::size_t{2} << 20;

// Size classes an eighth of a power of two apart: at most 12.5 % is lost, and sizes that differ a little share
// blocks.
std::size_t size_class(std::size_t bytes) {
  std::size_t step = 64;
  while (step * 16 <= bytes) step *= 2;
  return std::max<std::size_t>(64, (bytes + step - 1) / step * step);
}

void* system_allocate(std::size_t bytes) {
  const std::size_t alignment = bytes >= huge_page ? huge_page : 64;
  void* block = nullptr;
  if (posix_memalign(&block, alignment, bytes) != 0) return nullptr;
#if defined(MADV_HUGEPAGE)
  // Fewer page faults and TLB misses on activations of many megabytes; a hint, its failure changes nothing.
  if (bytes >= huge_page) madvise(block, bytes, MADV_HUGEPAGE);
#endif
  return block;
}

}  // namespace

Allocator::~Allocator() { release_cache(); }

void* Allocator::allocate(std::size_t bytes) {
  const std::size_t rounded = size_class(bytes);
  std::lock_guard<std::mutex> lock(mutex_);
  void* block = nullptr;
  if (auto found = free_.find(rounded); found != free_.end() && !found->second.empty()) {
    block = found->second.back();
    found->second.pop_back();
  } else {
    block = system_allocate(rounded);
    if (block == nullptr) {
      for (auto& [size, blocks] : free_) {
        for (void* cached : blocks) std::free(cached);
        stats_.reserved -= size * blocks.size();
      }
      free_.clear();
      block = system_allocate(rounded);
    }
    if (block == nullptr) {
      throw Error(ErrorCode::device, "memory",
                  "out of memory: the cpu device could not allocate " + std::to_string(bytes) + " bytes beside the " +
                      std::to_string(stats_.allocated) + " in use; use a smaller batch or release tensors");
    }
    stats_.reserved += rounded;
  }
  stats_.allocated += rounded;
  stats_.storages += 1;
  stats_.peak = std::max(stats_.peak, stats_.allocated);
  return block;
}

void Allocator::release(void* block, std::size_t bytes) {
  const std::size_t rounded = size_class(bytes);
  std::lock_guard<std::mutex> lock(mutex_);
  free_[rounded].push_back(block);
  stats_.allocated -= rounded;
  stats_.storages -= 1;
}

MemoryStats Allocator::stats() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return stats_;
}

void Allocator::reset_peak() {
  std::lock_guard<std::mutex> lock(mutex_);
  stats_.peak = stats_.allocated;
}

void Allocator::release_cache() {
  std::lock_guard<std::mutex> lock(mutex_);
  for (auto& [size, blocks] : free_) {
    for (void* block : blocks) std::free(block);
    stats_.reserved -= size * blocks.size();
  }
  free_.clear();
}

}  // namespace sn::cpu

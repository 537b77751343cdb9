// Where the CPU's allocator gets its blocks.
#pragma once

#include <sys/mman.h>

#include <cstdlib>

#include "core/allocator.h"

namespace sn::cpu {

constexpr const char* device_name = "cpu";

class SystemMemory final : public MemorySource {
 public:
  const char* device() const override { return device_name; }

  void* allocate(std::size_t bytes) override {
    constexpr std::size_t huge_page = std::size_t{2} << 20;
    const std::size_t alignment = bytes >= huge_page ? huge_page : 64;
    void* block = nullptr;
    if (posix_memalign(&block, alignment, bytes) != 0) return nullptr;
#if defined(MADV_HUGEPAGE)
    // Fewer page faults and TLB misses on activations of many megabytes; a hint, its failure changes nothing.
    if (bytes >= huge_page) madvise(block, bytes, MADV_HUGEPAGE);
#endif
    return block;
  }

  void release(void* block) override { std::free(block); }
};

}  // namespace sn::cpu

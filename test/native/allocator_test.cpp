#include <cstdint>
#include <cstdlib>

#include "check.h"
#include "core/error.h"
#include "core/allocator.h"

using sn::Allocator;
using sn::Reuse;

namespace {

// Blocks from the C library, up to a limit.
class LimitedMemory final : public sn::MemorySource {
 public:
  const char* device() const override { return "test"; }
  void* allocate(std::size_t bytes) override { return bytes <= limit ? std::aligned_alloc(64, bytes) : nullptr; }
  void release(void* block) override { std::free(block); }

  static constexpr std::size_t limit = std::size_t{1} << 30;
};

std::shared_ptr<sn::MemorySource> memory() { return std::make_shared<LimitedMemory>(); }

}  // namespace

SN_TEST(allocator_reuses, "a released block is handed out again for a size of its class") {
  Allocator allocator(memory(), Reuse::cached);
  void* first = allocator.allocate(1000);
  allocator.release(first, 1000);
  SN_CHECK(allocator.allocate(1001) == first);
  allocator.release(first, 1001);
}

SN_TEST(allocator_counts, "statistics follow allocation, release and the emptying of the cache") {
  Allocator allocator(memory(), Reuse::cached);
  void* block = allocator.allocate(1 << 20);
  SN_CHECK(allocator.stats().storages == 1);
  SN_CHECK(allocator.stats().allocated >= 1 << 20);
  SN_CHECK(reinterpret_cast<std::uintptr_t>(block) % 64 == 0);
  allocator.release(block, 1 << 20);
  SN_CHECK(allocator.stats().allocated == 0);
  SN_CHECK(allocator.stats().reserved >= 1 << 20);
  SN_CHECK(allocator.stats().peak >= 1 << 20);
  allocator.release_cache();
  SN_CHECK(allocator.stats().reserved == 0);
}

SN_TEST(allocator_fails_well, "out of memory is a typed error and leaves the allocator usable") {
  Allocator allocator(memory(), Reuse::cached);
  bool caught = false;
  try {
    allocator.allocate(std::size_t{1} << 60);
  } catch (const sn::Error& error) {
    caught = error.code() == sn::ErrorCode::device && error.argument() == "memory";
  }
  SN_CHECK(caught);
  SN_CHECK(allocator.stats().allocated == 0);
  void* block = allocator.allocate(100);
  SN_CHECK(block != nullptr);
  allocator.release(block, 100);
}

SN_TEST(allocator_pinned, "a pinned allocator gives nothing back until it is asked, also when memory runs out") {
  Allocator allocator(memory(), Reuse::pinned);
  void* block = allocator.allocate(1000);
  allocator.release(block, 1000);
  bool caught = false;
  try {
    allocator.allocate(2 * LimitedMemory::limit);
  } catch (const sn::Error&) {
    caught = true;
  }
  SN_CHECK(caught);
  SN_CHECK(allocator.stats().reserved >= 1000);
  allocator.release_cache();
  SN_CHECK(allocator.stats().reserved == 0);
}

SN_TEST(allocator_immediate, "an immediate allocator keeps nothing") {
  Allocator allocator(memory(), Reuse::immediate);
  void* block = allocator.allocate(1000);
  SN_CHECK(allocator.stats().allocated == 1000);
  allocator.release(block, 1000);
  SN_CHECK(allocator.stats().reserved == 0);
}

#include <cstdint>

#include "check.h"
#include "core/error.h"
#include "cpu/allocator.h"

using sn::cpu::Allocator;

SN_TEST(allocator_reuses, "a released block is handed out again for a size of its class") {
  Allocator allocator;
  void* first = allocator.allocate(1000);
  allocator.release(first, 1000);
  SN_CHECK(allocator.allocate(1001) == first);
  allocator.release(first, 1001);
}

SN_TEST(allocator_counts, "statistics follow allocation, release and the emptying of the cache") {
  Allocator allocator;
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
  Allocator allocator;
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

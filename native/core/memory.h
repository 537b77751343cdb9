// What a device tells of its memory.
#pragma once

#include <cstdint>

namespace sn {

struct MemoryStats {
  std::uint64_t allocated;  // bytes of live storages
  std::uint64_t reserved;   // bytes held from the system, the cache included
  std::uint64_t peak;       // highest `allocated` since the last reset
  std::uint64_t storages;   // live storages
};

}  // namespace sn

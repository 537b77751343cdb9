// The loops of every instruction set that this processor has, the baseline's first.
#pragma once

#include <vector>

#include "cpu/loops/loops.h"

namespace sn::cpu {

inline std::vector<const Loops*> usable_loops() {
  std::vector<const Loops*> all{&isa_baseline::loops()};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) all.push_back(&isa_avx2::loops());
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    all.push_back(&isa_avx512::loops());
  }
  return all;
}

}  // namespace sn::cpu

#include <cstdlib>
#include <string>
#include <vector>

#include "core/error.h"
#include "cpu/loops/loops.h"

namespace sn::cpu {

std::vector<const Loops*> usable_loops() {
  std::vector<const Loops*> all{&isa_baseline::loops()};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) all.push_back(&isa_avx2::loops());
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    all.push_back(&isa_avx512::loops());
  }
  return all;
}

const Loops& best_loops() {
  const char* asked = std::getenv("SPHERENET_ISA");
  const std::string isa = asked ? asked : "";
  if (!isa.empty() && isa != "baseline" && isa != "avx2" && isa != "avx512") {
    throw Error(ErrorCode::option, "SPHERENET_ISA", "SPHERENET_ISA must be baseline, avx2 or avx512, but is " + isa);
  }
  const std::vector<const Loops*> usable = usable_loops();
  for (const Loops* loops : usable) {
    if (loops->isa == isa) return *loops;
  }
  return *usable.back();
}

}  // namespace sn::cpu

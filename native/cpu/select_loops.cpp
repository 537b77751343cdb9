#include <cstdlib>
#include <string>

#include "core/error.h"
#include "cpu/loops/loops.h"

namespace sn::cpu {

const Loops& best_loops() {
  const char* asked = std::getenv("SPHERENET_ISA");
  const std::string isa = asked ? asked : "";
  if (!isa.empty() && isa != "baseline" && isa != "avx2" && isa != "avx512") {
    throw Error(ErrorCode::option, "SPHERENET_ISA", "SPHERENET_ISA must be baseline, avx2 or avx512, but is " + isa);
  }
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx512 && (isa.empty() || isa == "avx512")) return isa_avx512::loops();
  if (avx2 && isa != "baseline") return isa_avx2::loops();
  return isa_baseline::loops();
}

}  // namespace sn::cpu

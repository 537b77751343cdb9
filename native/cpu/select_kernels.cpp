#include <cstdlib>
#include <string>
#include <vector>

#include "core/error.h"
#include "cpu/kernels/kernels.h"

namespace sn::cpu {

std::vector<const Kernels*> usable_kernels() {
  std::vector<const Kernels*> all{&isa_baseline::kernels()};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) all.push_back(&isa_avx2::kernels());
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    all.push_back(&isa_avx512::kernels());
  }
  return all;
}

const Kernels& best_kernels() {
  const char* asked = std::getenv("SPHERENET_ISA");
  const std::string isa = asked ? asked : "";
  if (!isa.empty() && isa != "baseline" && isa != "avx2" && isa != "avx512") {
    throw Error(ErrorCode::option, "SPHERENET_ISA", "SPHERENET_ISA must be baseline, avx2 or avx512, but is " + isa);
  }
  const std::vector<const Kernels*> usable = usable_kernels();
  for (const Kernels* kernels : usable) {
    if (kernels->isa == isa) return *kernels;
  }
  return *usable.back();
}

}  // namespace sn::cpu

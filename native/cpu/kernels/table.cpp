#include "cpu/kernels/make.h"

#define SN_TEXT_OF(x) #x
#define SN_TEXT(x) SN_TEXT_OF(x)

namespace sn::cpu::SN_ISA {
namespace {

template <typename T>
Table<T> make_table() {
  return {make_sphere_kernels<T>(), make_norm_kernels<T>(), make_element_kernels<T>(), make_batch_norm_kernels<T>(),
          make_optimizer_kernels<T>()};
}

}  // namespace

const Kernels& kernels() {
  constexpr int prefix = 4;  // "isa_"
  static const Kernels all = {SN_TEXT(SN_ISA) + prefix, make_winograd_kernels(), make_table<float>(),
                              make_table<double>()};
  return all;
}

}  // namespace sn::cpu::SN_ISA

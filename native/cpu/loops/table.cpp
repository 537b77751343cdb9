#include "cpu/loops/make.h"

#define SN_TEXT_OF(x) #x
#define SN_TEXT(x) SN_TEXT_OF(x)

namespace sn::cpu::SN_ISA {
namespace {

template <typename T>
Table<T> make_table() {
  return {make_sphere_loops<T>(), make_element_loops<T>(), make_batch_norm_loops<T>(), make_optimizer_loops<T>()};
}

}  // namespace

const Loops& loops() {
  constexpr int prefix = 4;  // "isa_"
  static const Loops all = {SN_TEXT(SN_ISA) + prefix, make_winograd_loops(), make_table<float>(), make_table<double>()};
  return all;
}

}  // namespace sn::cpu::SN_ISA

// A number that the compiler knows; the standard library's has inline functions (kernels.h).
#pragma once

namespace sn::cpu::SN_ISA {
namespace {

template <int value>
struct Constant {
  constexpr operator int() const { return value; }
};

}  // namespace
}  // namespace sn::cpu::SN_ISA

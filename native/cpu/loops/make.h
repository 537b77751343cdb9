// One maker a file of this folder; table.cpp puts them together.
#pragma once

#include "cpu/loops/loops.h"

namespace sn::cpu::SN_ISA {

template <typename T>
SphereLoops<T> make_sphere_loops();
template <typename T>
ElementLoops<T> make_element_loops();
template <typename T>
PoolLoops<T> make_pool_loops();  // part of ElementLoops
template <typename T>
BatchNormLoops<T> make_batch_norm_loops();
template <typename T>
OptimizerLoops<T> make_optimizer_loops();
WinogradLoops make_winograd_loops();

}  // namespace sn::cpu::SN_ISA

// One maker a file of this folder; table.cpp puts them together.
#pragma once

#include "cpu/kernels/kernels.h"

namespace sn::cpu::SN_ISA {

template <typename T>
SphereKernels<T> make_sphere_kernels();
template <typename T>
NormKernels<T> make_norm_kernels();
template <typename T>
ElementKernels<T> make_element_kernels();
template <typename T>
PoolKernels<T> make_pool_kernels();  // part of ElementKernels
template <typename T>
BatchNormKernels<T> make_batch_norm_kernels();
template <typename T>
OptimizerKernels<T> make_optimizer_kernels();
WinogradKernels make_winograd_kernels();

}  // namespace sn::cpu::SN_ISA

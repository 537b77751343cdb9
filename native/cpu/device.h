// The CPU as a device, and what only it can do.
#pragma once

#include <vector>

#include "core/device.h"

namespace sn::cpu {

const Device& device();

// Milliseconds of oneDNN's direct convolution alone, f32, with the filters already packed: forward, backward to the
// data, backward to the weights, `repeats` times these three. `cpu` is a backend of this device; y is overwritten.
std::vector<double> benchmark_convolution(Backend& cpu, const Tensor& x, const Tensor& w, const Tensor& y,
                                          const ConvGeometry& geometry, int repeats);

}  // namespace sn::cpu

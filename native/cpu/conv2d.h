// The convolution in float64, shared by plain and hyperspherical operators.
#pragma once

#include "core/backend.h"

namespace sn::cpu {

void reference_conv_forward(const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& y, const ConvGeometry&);
void reference_conv_backward_data(const Tensor& dy, const Tensor& w, const Tensor& dx, const ConvGeometry&);
void reference_conv_backward_weights(const Tensor& x, const Tensor& dy, const Tensor& dw, const Tensor& dbias,
                                     const ConvGeometry&);

}  // namespace sn::cpu

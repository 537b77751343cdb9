// The convolution in float64, which gradient checks run on: plain loops, shared by plain and hyperspherical operators.
#pragma once

#include "core/backend.h"

namespace sn::cpu {

void reference_conv_forward(const Tensor& x, const Tensor& w, const OptionalTensor& bias, const Tensor& y,
                            const ConvGeometry& geometry);
void reference_conv_backward_data(const Tensor& dy, const Tensor& w, const Tensor& dx, const ConvGeometry& geometry);
void reference_conv_backward_weights(const Tensor& x, const Tensor& dy, const Tensor& dw, const OptionalTensor& dbias,
                                     const ConvGeometry& geometry);

}  // namespace sn::cpu

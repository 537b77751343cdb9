// Plain convolution: products of x and the filters, + bias.
#include "cuda/convolution/convolution.h"

namespace sn::cuda {

void CudaBackend::conv2d_forward(const Tensor& x, const Tensor& w, const OptionalTensor& bias, const Tensor& y,
                                 const ConvGeometry& geometry, const Epilogue& epilogue) {
  const ConvProblem problem = conv_problem("conv2d", x, w, y, geometry, precision_);
  choose_algorithm(problem, ConvPass::forward)->forward(*this, problem, x, w, {y, bias, std::nullopt});
  batch_norm_forward(y, epilogue.output ? epilogue.output : y, epilogue);
}

void CudaBackend::conv2d_backward_data(const Tensor& dy, const Tensor& w, const Tensor& dx,
                                       const ConvGeometry& geometry) {
  const ConvProblem problem = conv_problem("conv2dBackwardData", dx, w, dy, geometry, precision_);
  choose_algorithm(problem, ConvPass::backward_data)->backward_data(*this, problem, dy, w, dx, std::nullopt);
}

void CudaBackend::conv2d_backward_weights(const Tensor& x, const Tensor& dy, const Tensor& dw,
                                          const OptionalTensor& dbias, const ConvGeometry& geometry) {
  const ConvProblem problem = conv_problem("conv2dBackwardWeights", x, dw, dy, geometry, precision_);
  choose_algorithm(problem, ConvPass::backward_weights)->backward_weights(*this, problem, x, dy, dw, std::nullopt);
  // A shift of the channels has the same gradient.
  if (dbias) affine_backward(dy, {}, dy, {}, {}, dbias);
}

}  // namespace sn::cuda

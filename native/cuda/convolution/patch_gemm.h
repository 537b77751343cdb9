// Convolution as cuBLAS products of patches and filters, tile by tile: the patches of a tile stay in the L2 cache from
// the kernel that writes them to the product that reads them, and the whole patch matrix never exists. Takes every
// shape and dtype.
#pragma once

#include "cuda/convolution/convolution.h"

namespace sn::cuda {

class PatchGemm final : public ConvAlgorithm {
 public:
  const char* name() const override { return "patch GEMM"; }
  void forward(CudaBackend&, const ConvProblem&, const Tensor& x, const Tensor& w,
               const OutputEpilogue&) const override;
  void backward_data(CudaBackend&, const ConvProblem&, const Tensor& v, const Tensor& w, const Tensor& dx,
                     const std::optional<RadialInput>&) const override;
  void backward_weights(CudaBackend&, const ConvProblem&, const Tensor& x, const Tensor& v, const Tensor& dw,
                        const std::optional<RadialFilters>&) const override;
};

}  // namespace sn::cuda

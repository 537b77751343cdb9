// 3x3 convolutions of stride 1 by Winograd's algorithm F(4x4, 3x3) (cpu/kernels/winograd.cpp), which takes a quarter of
// the products. Results are within 1e-5 of the direct ones, relative to the largest numbers of a tile.
#pragma once

#include "cpu/convolution.h"

namespace sn::cpu {

class WinogradConvolution final : public Convolution {
 public:
  // Whether it can compute this shape, and saves more time than its transforms take.
  static bool suits(const ConvolutionShape& shape);

  WinogradConvolution(const ConvolutionShape& shape, Backend& backend, const WinogradKernels& kernels);

  void forward(const float* x, const Tensor& w, const float* bias, float* y) override;
  void backward_data(const float* dy, const Tensor& w, float* dx) override;
  void backward_weights(const float* x, const float* dy, float* dw) override;

 private:
  Tensor workspace(std::int64_t numbers) const;
  const float* transformed(const Tensor& w, bool back) const;
  void convolve(const float* from, const float* filters, const float* bias, float* to, const WinogradExtents&) const;

  WinogradExtents forward_, backward_;
  Backend& backend_;
  const WinogradKernels& kernels_;
};

}  // namespace sn::cpu

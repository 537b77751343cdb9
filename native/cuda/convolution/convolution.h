// Convolutions on the device: what an algorithm gets and does, and which one runs. Plain convolution and SphereConv go
// the same way. They differ in the operands of their products and in what follows the products.
#pragma once

#include <optional>

#include "cuda/backend.h"

namespace sn::cuda {

struct ConvProblem {
  const char* op;  // the operator's name, for errors
  Shape x, w, y;   // [N, H, W, C], [O, kH, kW, C / groups], [N, OH, OW, O]
  ConvGeometry geometry;
  DType dtype;
  Precision precision;  // of products of f32 operands
  // SphereConv: operands are rounded before the product, and norms are taken of what it sees. Absent: cuBLAS rounds.
  std::optional<NormGuard> norms;
};

// x and y may be gradients: only their shapes count.
inline ConvProblem conv_problem(const char* op, const Tensor& x, const Tensor& w, const Tensor& y,
                                const ConvGeometry& geometry, Precision precision,
                                const std::optional<NormGuard>& norms = std::nullopt) {
  return {op, x.shape, w.shape, y.shape, geometry, x.dtype, precision, norms};
}

// Epilogues: what follows the products. cuda/convolution/epilogue.h has them as device functions.

// Forward: y = g(product / (|p| |w|)) + bias.
struct SphereOutput {
  Angular angular;
  OptionalTensor parameters;               // [parameters of g, O]: its constants for each filter
  OptionalTensor s;                        // like y, written: see SphereSaved. Absent: there is no backward
  Tensor inv_patch_norm, inv_filter_norm;  // written by the algorithm before the epilogue reads them
};
// Forward: y = product + bias, unless there is a sphere.
struct OutputEpilogue {
  Tensor y;
  OptionalTensor bias;
  std::optional<SphereOutput> sphere;
};
// Backward data: dx -= x * (sum of r over the windows that see the pixel).
struct RadialInput {
  Tensor x;
  Tensor r;  // [N * OH * OW, groups]
};
// Backward weights: dw -= w / |w|^2 * sums.
struct RadialFilters {
  Tensor w;
  Tensor inv_filter_norm, sums;  // [O]
};

class ConvAlgorithm {
 public:
  virtual ~ConvAlgorithm() = default;
  virtual const char* name() const = 0;

  virtual void forward(CudaBackend&, const ConvProblem&, const Tensor& x, const Tensor& w,
                       const OutputEpilogue&) const = 0;
  // v: [N, OH, OW, O], the gradient of the products, as they take it: bf16 for a SphereConv at that precision.
  virtual void backward_data(CudaBackend&, const ConvProblem&, const Tensor& v, const Tensor& w, const Tensor& dx,
                             const std::optional<RadialInput>&) const = 0;
  virtual void backward_weights(CudaBackend&, const ConvProblem&, const Tensor& x, const Tensor& v, const Tensor& dw,
                                const std::optional<RadialFilters>&) const = 0;
};

enum class ConvPass { forward, backward_data, backward_weights };

struct ConvChoice {
  const ConvAlgorithm* algorithm;
  const char* reason;

  const ConvAlgorithm* operator->() const { return algorithm; }
};

ConvChoice choose_algorithm(const ConvProblem&, ConvPass);

}  // namespace sn::cuda

// The three products of a convolution on one tile of windows, each group a product of its own.
#pragma once

#include "cuda/convolution/tiles.h"
#include "cuda/gemm.h"

namespace sn::cuda {

template <typename In, typename Out>
class ConvProducts {
 public:
  ConvProducts(const Gemm& gemm, const ConvProblem& problem, const PatchShape& shape)
      : gemm_(gemm), op_(problem.op), shape_(shape), all_filters_(problem.y.back()),
        filters_(all_filters_ / shape.groups), precision_(problem.precision) {}

  struct Patches {
    Matrix<const In> matrix;
    std::int64_t elements;  // of a row that count
  };
  // As build_patches() writes them.
  Patches patches(const In* data, const WindowRange& range) const {
    return {{data, shape_.padded, false, range.count * shape_.padded}, shape_.padded};
  }
  // The image itself where is_pixelwise().
  Patches pixels(const In* image, const WindowRange& range) const {
    return {{image + range.first * shape_.channels, shape_.channels, false, shape_.width}, shape_.size};
  }

  // y[window][filter] of the range = patches filters'
  void forward(const WindowRange& range, const Patches& patches, const In* filters, Out* y) const {
    gemm_.multiply<In, Out>(op_, {range.count, filters_, patches.elements, shape_.groups}, patches.matrix,
                            {filters, shape_.padded, true, filters_ * shape_.padded},
                            {y + range.first * all_filters_, all_filters_, false, filters_}, precision_);
  }

  // gradients[group][window][padded] = v filters
  void patch_gradients(const WindowRange& range, const In* v, const In* filters, Out* gradients) const {
    gemm_.multiply<In, Out>(op_, {range.count, shape_.padded, filters_, shape_.groups}, outputs(range, v, false),
                            {filters, shape_.padded, false, filters_ * shape_.padded},
                            {gradients, shape_.padded, false, range.count * shape_.padded}, precision_);
  }

  // dw[filter][padded] (+)= v' patches
  void filter_gradients(const WindowRange& range, const In* v, const Patches& patches, Out* dw, bool accumulate) const {
    gemm_.multiply<In, Out>(op_, {filters_, patches.elements, range.count, shape_.groups}, outputs(range, v, true),
                            patches.matrix, {dw, shape_.padded, false, filters_ * shape_.padded}, precision_,
                            accumulate);
  }

 private:
  Matrix<const In> outputs(const WindowRange& range, const In* v, bool transposed) const {
    return {v + range.first * all_filters_, all_filters_, transposed, filters_};
  }

  const Gemm& gemm_;
  const char* op_;
  PatchShape shape_;
  std::int64_t all_filters_, filters_;
  Precision precision_;
};

}  // namespace sn::cuda

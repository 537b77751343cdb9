// Filters as products take them.
#pragma once

#include "cuda/backend.h"
#include "cuda/convolution/operands.h"

namespace sn::cuda {

// Rows of `padded` elements, one a filter, rounded and padded with zeros as patches are, and 1/|w| of what is there.
// Stored with the filters (Tensor::derived) until they change.
struct FilterPack {
  std::shared_ptr<Storage> elements;
  Tensor inverse_norms;  // [O]

  std::uint64_t revision, capture;
  Precision precision;
  NormGuard guard;

  template <typename Operand>
  const typename Operand::Element* data() const {
    return static_cast<const typename Operand::Element*>(elements->data());
  }
};

// The pack of the filters [O, kH, kW, C / groups], made once for every change of them.
template <typename Operand>
const FilterPack& packed_filters(CudaBackend& device, const Tensor& w, int padded, const NormGuard& guard);

}  // namespace sn::cuda

#include "core/dispatch.h"
#include "cuda/backend.h"
#include "cuda/elements.h"

namespace sn::cuda {
namespace {

// Written before the product, which is then added to it: one pass over c.
template <typename T>
struct RepeatRow {
  const T* row;
  T* c;
  std::int64_t columns;
  __device__ void operator()(std::int64_t i) const { c[i] = row[i % columns]; }
};

}  // namespace

void CudaBackend::matmul(const Tensor& a, const Tensor& b, const OptionalTensor& bias, const Tensor& c,
                         bool transpose_a, bool transpose_b) {
  by_dtype(c.dtype, [&](auto tag) {
    using T = decltype(tag);
    T* out = c.write<T>();
    const std::int64_t rows = c.shape[0], columns = c.shape[1], inner = a.shape[transpose_a ? 0 : 1];
    if (bias) for_each_element("matmul", stream_, c.count(), RepeatRow<T>{bias.read<T>(), out, columns});
    gemm_->multiply<T, T>("matmul", {rows, columns, inner}, {a.read<T>(), a.shape[1], transpose_a},
                          {b.read<T>(), b.shape[1], transpose_b}, {out, columns}, precision_, static_cast<bool>(bias));
  });
}

}  // namespace sn::cuda

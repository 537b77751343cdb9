// Constants and conversions.
#include "core/dispatch.h"
#include "cuda/backend.h"
#include "cuda/elements.h"

namespace sn::cuda {
namespace {

template <typename T>
struct Fill {
  T* to;
  T value;
  __device__ void operator()(std::int64_t i) const { to[i] = value; }
};

template <typename From, typename To>
struct Cast {
  const From* from;
  To* to;
  __device__ void operator()(std::int64_t i) const { to[i] = math::convert<To>(from[i]); }
};

}  // namespace

void CudaBackend::fill(double value, const AnyTensor& to) {
  by_any_dtype(to.dtype, [&](auto tag) {
    using T = decltype(tag);
    for_each_element("fill", stream_, to.count(), Fill<T>{to.write<T>(), math::convert<T>(value)});
  });
}

void CudaBackend::cast(const AnyTensor& from, const AnyTensor& to) {
  by_any_dtype(from.dtype, [&](auto from_tag) {
    by_any_dtype(to.dtype, [&](auto to_tag) {
      using From = decltype(from_tag);
      using To = decltype(to_tag);
      for_each_element("cast", stream_, to.count(), Cast<From, To>{from.read<From>(), to.write<To>()});
    });
  });
}

}  // namespace sn::cuda

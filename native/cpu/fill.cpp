#include <algorithm>

#include "core/dispatch.h"
#include "cpu/backend.h"
#include "math/rounding.h"

namespace sn::cpu {

void CpuBackend::fill(double value, const AnyTensor& to) {
  by_any_dtype(to.dtype, [&](auto tag) {
    using T = decltype(tag);
    std::fill_n(to.write<T>(), to.count(), math::convert<T>(value));
  });
}

void CpuBackend::cast(const AnyTensor& from, const AnyTensor& to) {
  by_any_dtype(from.dtype, [&](auto from_tag) {
    by_any_dtype(to.dtype, [&](auto to_tag) {
      using From = decltype(from_tag);
      using To = decltype(to_tag);
      const From* source = from.read<From>();
      std::transform(source, source + from.count(), to.write<To>(),
                     [](From value) { return math::convert<To>(value); });
    });
  });
}

}  // namespace sn::cpu

#include "core/dispatch.h"
#include "cpu/backend.h"
#include "cpu/directions.h"

namespace sn::cpu {

// With the rows u of w (normalised or not) and D = U U^T - I: loss = |D|^2, dL/dU = 4 D U, and through the
// normalisation dw = (dU - u (u . dU)) / |w|.
void CpuBackend::orthogonality(const Tensor& w, bool normalized, double eps, const Tensor& loss, const Tensor& dw) {
  const std::int64_t rows = w.shape[0], width = w.count() / rows;
  Tensor raw = w, gradient = dw;
  raw.shape = gradient.shape = {rows, width};
  by_dtype(w.dtype, [&](auto tag) {
    using T = decltype(tag);
    const auto& kernels = kernels_.of<T>();
    const Directions directions(raw, eps);
    const auto constant = [&](double value) { return std::vector<T>(static_cast<std::size_t>(rows), T(value)); };
    const auto inverses = [&](double factor) {
      if (!normalized) return constant(factor);
      return per_row<T>(directions, [&](auto i) { return factor * directions.gradient_inverse(i); });
    };
    Tensor unit = raw;
    if (normalized) {
      unit = scratch(w.dtype, raw.shape);
      normalize_rows<T>(raw, directions, unit);
    }
    const Tensor gram = scratch(w.dtype, {rows, rows});
    matmul(unit, unit, {}, gram, false, true);
    T* difference = gram.write<T>();
    for (std::int64_t i = 0; i < rows; ++i) difference[i * rows + i] -= T(1);
    fill(kernels.element.sum_of_squares(difference, gram.count()), {loss});

    scale_rows_and_columns(difference, difference, inverses(4), constant(1));
    matmul(gram, unit, {}, gradient, false, false);
    if (normalized) project_gradients(kernels.norms, directions, unit, gradient);
  });
}

}  // namespace sn::cpu

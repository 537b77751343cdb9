#include "math/separation.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "core/dispatch.h"
#include "cpu/backend.h"
#include "cpu/directions.h"

namespace sn::cpu {
namespace {

// With the rows u of w at unit length and C = U U^T: weigh(T* cosines) puts S_ij = dL/dC_ij + dL/dC_ji in place of C,
// 0 on the diagonal. Then dL/dU = S U, and through the normalisation dw = (dU - u (u . dU)) / |w|.
template <typename T, typename Weigh>
void weigh_cosines(CpuBackend& device, const NormKernels<T>& norms, const Tensor& w, double eps, const Tensor& dw,
                   Weigh&& weigh) {
  const std::int64_t rows = w.shape[0], width = w.count() / rows;
  Tensor matrix = w, gradient = dw;
  matrix.shape = gradient.shape = {rows, width};
  const Directions directions(matrix, eps);
  const Tensor units = device.scratch(w.dtype, matrix.shape), gram = device.scratch(w.dtype, {rows, rows});
  normalize_rows<T>(matrix, directions, units);
  device.matmul(units, units, {}, gram, false, true);
  T* cosines = gram.write<T>();
  for (std::int64_t i = 0; i < rows * rows; ++i) cosines[i] = math::clamp_cosine(cosines[i]);
  weigh(cosines);
  const auto inverses = per_row<T>(directions, [&](auto i) { return directions.gradient_inverse(i); });
  scale_rows_and_columns(cosines, cosines, inverses, std::vector<T>(static_cast<std::size_t>(rows), T(1)));
  device.matmul(gram, units, {}, gradient, false, false);
  project_gradients(norms, directions, units, gradient);
}

}  // namespace

void CpuBackend::hyperspherical_energy(const Tensor& w, int power, bool half_space, double eps, const Tensor& loss,
                                       const Tensor& dw) {
  const std::int64_t rows = w.shape[0];
  const math::EnergyMean mean = math::energy_mean(double(rows), power, half_space);
  by_dtype(w.dtype, [&](auto tag) {
    using T = decltype(tag);
    std::vector<double> sums(static_cast<std::size_t>(rows));
    weigh_cosines<T>(*this, kernels_.of<T>().norms, w, eps, dw, [&](T* cosines) {
      const T share = static_cast<T>(2 * mean.share);
#pragma omp parallel for schedule(static) if (rows * rows > parallel_threshold)
      for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t j = 0; j < rows; ++j) {
          T& cosine = cosines[i * rows + j];
          const auto energy = math::filter_energy(cosine, power, half_space);
          if (i != j) sums[static_cast<std::size_t>(i)] += double(energy.value);
          cosine = i != j ? share * energy.slope : T(0);
        }
      }
    });
    fill(mean.share * std::accumulate(sums.begin(), sums.end(), 0.0) + mean.constant, {loss});
  });
}

void CpuBackend::minimal_angle(const Tensor& w, double eps, const Tensor& loss, const Tensor& dw) {
  const std::int64_t rows = w.shape[0];
  by_dtype(w.dtype, [&](auto tag) {
    using T = decltype(tag);
    double sum = 0;
    weigh_cosines<T>(*this, kernels_.of<T>().norms, w, eps, dw, [&](T* cosines) {
      std::vector<std::int64_t> nearest;
      std::vector<T> slopes;
      for (std::int64_t i = 0; i < rows; ++i) {
        const T* row = cosines + i * rows;
        std::int64_t found = i == 0 ? 1 : 0;
        for (std::int64_t j = found + 1; j < rows; ++j) {
          if (j != i && (row[j] > row[found] || row[j] != row[j])) found = j;  // a NaN is to show in the loss
        }
        const auto angle = rows > 1 ? math::angle_between(row[found]) : math::ValueAndSlope<T>{};
        sum += double(angle.value);
        nearest.push_back(found);
        slopes.push_back(-angle.slope / static_cast<T>(rows));
      }
      std::fill(cosines, cosines + rows * rows, T(0));
      for (std::int64_t i = 0; rows > 1 && i < rows; ++i) {
        const std::int64_t j = nearest[static_cast<std::size_t>(i)];
        const T slope = slopes[static_cast<std::size_t>(i)];
        cosines[i * rows + j] += slope;
        cosines[j * rows + i] += slope;
      }
    });
    fill(-sum / double(rows), {loss});
  });
}

}  // namespace sn::cpu

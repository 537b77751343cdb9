#include "math/separation.h"

#include "cuda/backend.h"
#include "cuda/directions.h"

namespace sn::cuda {
namespace {

// With the rows u of w at unit length and C = U U^T, S_ij = dL/dC_ij + dL/dC_ji, 0 on the diagonal, gives dL/dU = S U.
// The kernels write S_ij / |w_i| in place of C, so that the product is the gradient of w but for its part along w.

struct EnergyOptions {
  int power;
  bool half_space;
  math::EnergyMean mean;
};

// Reads the cosines, writes S: 2 T; and the energy of each row.
template <typename T, int width>
__global__ void __launch_bounds__(most_row_threads)
    energy_rows(T* gram, const T* inverse_norms, double* energies, const int rows, const EnergyOptions options) {
  const int row = static_cast<int>(blockIdx.x);
  T* values = gram + std::int64_t{row} * rows;
  const T factor = static_cast<T>(2 * options.mean.share) * inverse_norms[row];
  double sum = 0;
  const Columns<width> own;
  for (int j = own.first; j < rows; j += own.step) {
    auto pack = load<width>(values + j);
    for (int k = 0; k < width; ++k) {
      const T cosine = math::clamp_cosine(pack.values[k]);
      const auto energy = math::filter_energy(cosine, options.power, options.half_space);
      const bool is_other = j + k != row;
      sum += is_other ? double(energy.value) : 0;
      pack.values[k] = is_other ? factor * energy.slope : T(0);
    }
    store(values + j, pack);
  }
  sum = row_sum(sum);
  if (threadIdx.x == 0) energies[row] = sum;
}

struct MeanEnergy {
  math::EnergyMean mean;
  __device__ double operator()(double sum) const { return mean.share * sum + mean.constant; }
};

// The nearest other row of each row, the first of several, and the slope of the loss by their cosine.
template <typename T>
struct Nearest {
  std::int32_t* rows;
  T* slopes;
};

// Reads the cosines: 1 T.
template <typename T>
__global__ void __launch_bounds__(most_row_threads)
    find_nearest(const T* gram, const Nearest<T> nearest, double* angles, const int rows) {
  const int row = static_cast<int>(blockIdx.x);
  const T* values = gram + std::int64_t{row} * rows;
  T highest = T(-2);  // below every cosine
  int found = rows;
  double poison = 0;  // a NaN is to show in the loss
  const Columns<1> own;
  for (int j = own.first; j < rows; j += own.step) {
    const T cosine = math::clamp_cosine(values[j]);
    if (cosine != cosine) poison = double(cosine);
    if (j == row || !(cosine > highest)) continue;
    highest = cosine;
    found = j;
  }
  const T best = row_max(highest);
  found = -row_max(highest == best ? -found : -rows);
  poison = row_sum(poison);
  if (threadIdx.x != 0) return;
  const auto angle = found < rows ? math::angle_between(best) : math::ValueAndSlope<T>{};
  nearest.rows[row] = found;
  nearest.slopes[row] = -angle.slope / static_cast<T>(rows);
  angles[row] = double(angle.value) + poison;
}

// Writes S: 1 T.
template <typename T>
__global__ void __launch_bounds__(most_row_threads)
    spread_slopes(T* gram, const Nearest<T> nearest, const T* inverse_norms, const int rows) {
  const int row = static_cast<int>(blockIdx.x);
  const Columns<1> own;
  for (int j = own.first; j < rows; j += own.step) {
    const T forth = nearest.rows[row] == j ? nearest.slopes[row] : T(0);
    const T back = nearest.rows[j] == row ? nearest.slopes[j] : T(0);
    gram[std::int64_t{row} * rows + j] = (forth + back) * inverse_norms[row];
  }
}

// Calls weigh(T{}, gram, inverse norms), which writes S in place of the cosines.
template <typename Weigh>
void weigh_cosines(CudaBackend& device, const char* op, const Tensor& w, double eps, const Tensor& dw, Weigh&& weigh) {
  const std::int64_t rows = w.shape[0], columns = w.count() / rows;
  Tensor matrix = w;
  matrix.shape = {rows, columns};
  const Tensor units = device.scratch(w.dtype, matrix.shape), inverse_norms = device.scratch(w.dtype, {rows});
  const Tensor gram = device.scratch(w.dtype, {rows, rows});
  normalize_rows(op, device.stream(), matrix, eps, units, inverse_norms);
  by_dtype(w.dtype, [&](auto tag) {
    using T = decltype(tag);
    const Matrix<const T> u{units.read<T>(), columns}, u_transposed{units.read<T>(), columns, true};
    device.gemm().template multiply<T, T>(op, {rows, rows, columns}, u, u_transposed, {gram.write<T>(), rows},
                                          Precision::fp32);
    weigh(tag, gram, inverse_norms);
    device.gemm().template multiply<T, T>(op, {rows, columns, rows}, {gram.read<T>(), rows}, u,
                                          {dw.write<T>(), columns}, Precision::fp32);
  });
  Tensor gradient = dw;
  gradient.shape = matrix.shape;
  project_gradients(op, device.stream(), matrix, inverse_norms, {}, gradient);
}

}  // namespace

void CudaBackend::hyperspherical_energy(const Tensor& w, int power, bool half_space, double eps, const Tensor& loss,
                                        const Tensor& dw) {
  constexpr auto op = "hyperspherical_energy";
  const std::int64_t rows = w.shape[0];
  const EnergyOptions options{power, half_space, math::energy_mean(double(rows), power, half_space)};
  const Tensor energies = scratch(DType::f64, {rows});
  weigh_cosines(*this, op, w, eps, dw, [&](auto, const Tensor& gram, const Tensor& inverse_norms) {
    by_column(gram, [&](auto tag, auto width) {
      using T = decltype(tag);
      launch_rows({op, stream_, gram.shape, width}, energy_rows<T, decltype(width)::value>, gram.write<T>(),
                  inverse_norms.read<T>(), energies.write<double>(), static_cast<int>(rows), options);
    });
  });
  sum_into(op, stream_, energies, MeanEnergy{options.mean}, loss);
}

void CudaBackend::minimal_angle(const Tensor& w, double eps, const Tensor& loss, const Tensor& dw) {
  constexpr auto op = "minimal_angle";
  const std::int64_t rows = w.shape[0];
  const Tensor angles = scratch(DType::f64, {rows});
  const Tensor nearest_rows = scratch(DType::i32, {rows}), slopes = scratch(w.dtype, {rows});
  weigh_cosines(*this, op, w, eps, dw, [&](auto tag, const Tensor& gram, const Tensor& inverse_norms) {
    using T = decltype(tag);
    const Nearest<T> nearest{nearest_rows.write<std::int32_t>(), slopes.write<T>()};
    const RowLaunch how{op, stream_, gram.shape, 1};
    launch_rows(how, find_nearest<T>, gram.read<T>(), nearest, angles.write<double>(), static_cast<int>(rows));
    launch_rows(how, spread_slopes<T>, gram.write<T>(), nearest, inverse_norms.read<T>(), static_cast<int>(rows));
  });
  sum_into(op, stream_, angles, DividedBy{-double(rows)}, loss);
}

}  // namespace sn::cuda

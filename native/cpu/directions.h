// The rows of a matrix as directions (math/directions.h), shared by the angular losses and the penalties on filters.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "core/dispatch.h"
#include "core/tensor.h"
#include "cpu/kernels/kernels.h"
#include "math/directions.h"

namespace sn::cpu {

// Below this many elements waking the threads costs more than they save.
constexpr std::int64_t parallel_threshold = 8192;

template <typename T>
double dot(const T* a, const T* b, std::int64_t width) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t j = 0; j < width; ++j) sum += double(a[j]) * double(b[j]);
  return sum;
}

inline std::vector<double> row_norms(const Tensor& matrix) {
  const std::int64_t rows = matrix.shape[0], width = matrix.count() / rows;
  std::vector<double> norms(static_cast<std::size_t>(rows));
  by_dtype(matrix.dtype, [&](auto tag) {
    const auto* values = matrix.read<decltype(tag)>();
#pragma omp parallel for schedule(static) if (rows * width > 4 * parallel_threshold)
    for (std::int64_t i = 0; i < rows; ++i) {
      norms[static_cast<std::size_t>(i)] = std::sqrt(dot(values + i * width, values + i * width, width));
    }
  });
  return norms;
}

// Norms and inverse norms of the rows of a matrix. Inverse norms are those of `eps`, or the ones that forward saved.
class Directions {
 public:
  Directions(const Tensor& matrix, double eps) : norms_(row_norms(matrix)) {
    for (double norm : norms_) inverses_.push_back(math::direction_inverse(norm, eps));
  }
  Directions(const Tensor& matrix, const Tensor& inverse_norms) : norms_(row_norms(matrix)) {
    by_dtype(inverse_norms.dtype, [&](auto tag) {
      const auto* values = inverse_norms.read<decltype(tag)>();
      inverses_.assign(values, values + inverse_norms.count());
    });
  }

  std::int64_t rows() const { return static_cast<std::int64_t>(norms_.size()); }
  double norm(std::int64_t row) const { return norms_[index(row)]; }
  double inverse(std::int64_t row) const { return inverses_[index(row)]; }
  // A zero row takes no gradient.
  double gradient_inverse(std::int64_t row) const { return norm(row) > 0 ? inverse(row) : 0; }
  // A guarded row has no radial part.
  double radial_inverse(std::int64_t row) const { return math::is_guarded(norm(row), inverse(row)) ? 0 : inverse(row); }

 private:
  static std::size_t index(std::int64_t row) { return static_cast<std::size_t>(row); }

  std::vector<double> norms_, inverses_;
};

// value(row) of each row.
template <typename T, typename Function>
std::vector<T> per_row(const Directions& directions, Function&& value) {
  std::vector<T> values;
  values.reserve(static_cast<std::size_t>(directions.rows()));
  for (std::int64_t row = 0; row < directions.rows(); ++row) values.push_back(static_cast<T>(value(row)));
  return values;
}

// out_ij = in_ij * row_factor_i * column_factor_j; out may be in.
template <typename T>
void scale_rows_and_columns(const T* in, T* out, const std::vector<T>& row_factors,
                            const std::vector<T>& column_factors) {
  const auto rows = static_cast<std::int64_t>(row_factors.size());
  const auto columns = static_cast<std::int64_t>(column_factors.size());
#pragma omp parallel for schedule(static) if (rows * columns > parallel_threshold)
  for (std::int64_t i = 0; i < rows; ++i) {
    const T row_factor = row_factors[static_cast<std::size_t>(i)];
#pragma omp simd
    for (std::int64_t j = 0; j < columns; ++j) {
      out[i * columns + j] = in[i * columns + j] * row_factor * column_factors[static_cast<std::size_t>(j)];
    }
  }
}

// The rows brought to unit length.
template <typename T>
void normalize_rows(const Tensor& matrix, const Directions& directions, const Tensor& units) {
  const std::vector<T> ones(static_cast<std::size_t>(matrix.shape[1]), T(1));
  const auto inverses = per_row<T>(directions, [&](auto i) { return directions.gradient_inverse(i); });
  scale_rows_and_columns(matrix.read<T>(), units.write<T>(), inverses, ones);
}

// In: gradient = dL/d(unit row) / norm. Out: without its part along the row, which normalising takes away.
template <typename T>
void project_gradients(const NormKernels<T>& norms, const Directions& directions, const Tensor& units,
                       const Tensor& gradient) {
  const std::int64_t width = units.shape[1];
  const T* rows = units.read<T>();
  T* gradients = gradient.write<T>();
  const auto radial = per_row<T>(directions, [&](std::int64_t i) {
    return directions.radial_inverse(i) > 0 ? dot(rows + i * width, gradients + i * width, width) : 0;
  });
  norms.subtract_radial(gradients, rows, radial.data(), directions.rows(), int(width), 1);
}

}  // namespace sn::cpu

// The directions of the rows of a matrix on the device, see math/directions.h.
#pragma once

#include "cuda/rows.h"
#include "math/directions.h"

namespace sn::cuda {

// Products in float64, as on the CPU: a row of 1e-30 is short, not zero.
template <int width, typename T>
__device__ double row_norm(const T* row, const int columns) {
  double squares = 0;
  const Columns<width> own;
  for (int j = own.first; j < columns; j += own.step) {
    for (T value : load<width>(row + j).values) squares += double(value) * double(value);
  }
  return sqrt(row_sum(squares));
}

// Reads the matrix once: 1 T. `norms` may be null.
template <typename T, int width>
__global__ void __launch_bounds__(most_row_threads)
    measure_kernel(const T* matrix, const int columns, const double eps, double* norms, T* inverse_norms) {
  const std::int64_t row = blockIdx.x;
  const double norm = row_norm<width>(matrix + row * columns, columns);
  if (threadIdx.x != 0) return;
  if (norms != nullptr) norms[row] = norm;
  inverse_norms[row] = static_cast<T>(math::direction_inverse(norm, eps));
}

// Norms (of f64, may be absent) and 1 / max(norm, eps) of the rows.
inline void measure_rows(const char* op, cudaStream_t stream, const Tensor& matrix, double eps, const Tensor& norms,
                         const Tensor& inverse_norms) {
  by_column(matrix, [&](auto tag, auto width) {
    using T = decltype(tag);
    launch_rows({op, stream, matrix.shape, width}, measure_kernel<T, decltype(width)::value>, matrix.read<T>(),
                static_cast<int>(matrix.shape[1]), eps, norms.write<double>(), inverse_norms.write<T>());
  });
}

// Reads the matrix, again from cache, and writes its rows brought to unit length: 2 T. A zero row stays zero, and so is
// its inverse norm.
template <typename T, int width>
__global__ void __launch_bounds__(most_row_threads)
    normalize_kernel(const T* matrix, const int columns, const double eps, T* units, T* inverse_norms) {
  const std::int64_t row = blockIdx.x, first = row * columns;
  const double norm = row_norm<width>(matrix + first, columns);
  const T inverse = norm > 0 ? static_cast<T>(math::direction_inverse(norm, eps)) : T(0);
  if (threadIdx.x == 0) inverse_norms[row] = inverse;
  const Columns<width> own;
  for (int j = own.first; j < columns; j += own.step) {
    auto pack = load<width>(matrix + first + j);
    for (T& value : pack.values) value *= inverse;
    store(units + first + j, pack);
  }
}

// The rows as unit vectors, and their inverse norms.
inline void normalize_rows(const char* op, cudaStream_t stream, const Tensor& matrix, double eps, const Tensor& units,
                           const Tensor& inverse_norms) {
  by_column(matrix, [&](auto tag, auto width) {
    using T = decltype(tag);
    launch_rows({op, stream, matrix.shape, width}, normalize_kernel<T, decltype(width)::value>, matrix.read<T>(),
                static_cast<int>(matrix.shape[1]), eps, units.write<T>(), inverse_norms.write<T>());
  });
}

// dL/d|row| = slopes[row] * outer[0]; both absent where there is none.
struct LengthGradient {
  Tensor slopes, outer;
};

// The same on the device.
template <typename T>
struct Lengthening {
  const T* slopes;
  const T* outer;

  // Per unit of the row.
  __device__ double along(std::int64_t row, double norm) const {
    return slopes != nullptr ? double(*outer) * double(slopes[row]) / norm : 0;
  }
};

// Reads rows and gradients, again from cache, and writes the gradients: 3 T.
template <typename T, int width>
__global__ void __launch_bounds__(most_row_threads)
    project_kernel(const T* matrix, const T* inverse_norms, const Lengthening<T> length, T* gradients,
                   const int columns) {
  const std::int64_t row = blockIdx.x;
  const T* values = matrix + row * columns;
  T* gradient = gradients + row * columns;
  const Columns<width> own;
  double squares = 0, products = 0;
  for (int j = own.first; j < columns; j += own.step) {
    const auto value = load<width>(values + j), slope = load<width>(gradient + j);
    for (int k = 0; k < width; ++k) {
      squares += double(value.values[k]) * double(value.values[k]);
      products += double(value.values[k]) * double(slope.values[k]);
    }
  }
  squares = row_sum(squares);
  products = row_sum(products);

  const double norm = sqrt(squares);
  const bool zero = norm == 0;
  const double radial = math::is_guarded(norm, double(inverse_norms[row])) ? 0 : products / squares;
  const T share = zero ? T(0) : static_cast<T>(radial - length.along(row, norm));
  for (int j = own.first; j < columns; j += own.step) {
    const auto value = load<width>(values + j);
    auto slope = load<width>(gradient + j);
    for (int k = 0; k < width; ++k) slope.values[k] = zero ? T(0) : slope.values[k] - value.values[k] * share;
    store(gradient + j, slope);
  }
}

// In: gradient = dL/d(direction) * inverse norm. Out: without its part along the row, which normalising takes away, and
// with dL/d|row|.
inline void project_gradients(const char* op, cudaStream_t stream, const Tensor& matrix, const Tensor& inverse_norms,
                              const LengthGradient& length, const Tensor& gradient) {
  by_column(matrix, [&](auto tag, auto width) {
    using T = decltype(tag);
    const Lengthening<T> on_device{length.slopes.read<T>(), length.outer.read<T>()};
    launch_rows({op, stream, matrix.shape, width}, project_kernel<T, decltype(width)::value>, matrix.read<T>(),
                inverse_norms.read<T>(), on_device, gradient.write<T>(), static_cast<int>(matrix.shape[1]));
  });
}

}  // namespace sn::cuda

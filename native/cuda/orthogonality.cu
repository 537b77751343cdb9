#include "cuda/backend.h"
#include "cuda/directions.h"

namespace sn::cuda {
namespace {

// In: the Gram matrix; out: 4 (gram - I) / |w_row|, and the row's squares of gram - I. No inverse norms: 1. Reads the
// matrix, writes it: 2 T.
template <typename T, int width>
__global__ void __launch_bounds__(most_row_threads)
    differ_from_identity(T* gram, const T* inverse_norms, double* row_squares, const int rows) {
  const std::int64_t row = blockIdx.x;
  const T factor = T(4) * (inverse_norms != nullptr ? inverse_norms[row] : T(1));
  T* values = gram + row * rows;
  double squares = 0;
  const Columns<width> own;
  for (int j = own.first; j < rows; j += own.step) {
    auto pack = load<width>(values + j);
    for (int k = 0; k < width; ++k) {
      const T difference = pack.values[k] - T(j + k == row);
      squares += double(difference) * double(difference);
      pack.values[k] = difference * factor;
    }
    store(values + j, pack);
  }
  squares = row_sum(squares);
  if (threadIdx.x == 0) row_squares[row] = squares;
}

}  // namespace

// With the rows u of w (normalised or not) and D = U U^T - I: loss = |D|^2, dL/dU = 4 D U, and through the
// normalisation dw = (dU - u (u . dU)) / |w|.
void CudaBackend::orthogonality(const Tensor& w, bool normalized, double eps, const Tensor& loss, const Tensor& dw) {
  constexpr auto op = "orthogonality";
  const std::int64_t rows = w.shape[0], columns = w.count() / rows;
  Tensor matrix = w;
  matrix.shape = {rows, columns};
  Tensor units = matrix, inverse_norms;
  if (normalized) {
    units = scratch(w.dtype, matrix.shape);
    inverse_norms = scratch(w.dtype, {rows});
    normalize_rows(op, stream_, matrix, eps, units, inverse_norms);
  }
  const Tensor gram = scratch(w.dtype, {rows, rows}), row_squares = scratch(DType::f64, {rows});
  by_column(gram, [&](auto tag, auto width) {
    using T = decltype(tag);
    const Matrix<const T> u{units.read<T>(), columns}, u_transposed{units.read<T>(), columns, true};
    gemm_->multiply<T, T>(op, {rows, rows, columns}, u, u_transposed, {gram.write<T>(), rows}, Precision::fp32);
    launch_rows({op, stream_, gram.shape, width}, differ_from_identity<T, decltype(width)::value>, gram.write<T>(),
                inverse_norms.read<T>(), row_squares.write<double>(), static_cast<int>(rows));
    gemm_->multiply<T, T>(op, {rows, columns, rows}, {gram.read<T>(), rows}, u, {dw.write<T>(), columns},
                          Precision::fp32);
  });
  sum_into(op, stream_, row_squares, DividedBy{1}, loss);
  if (normalized) project_gradients(op, stream_, matrix, inverse_norms, {}, dw);
}

}  // namespace sn::cuda

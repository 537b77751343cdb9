#include "cpu/kernels/make.h"
#include "cpu/kernels/parallel.h"
#include "math/batch_norm.h"
#include "math/moments.h"
#include "math/relu.h"

namespace sn::cpu::SN_ISA {
namespace {

// Sums run in T over a chunk and in double over the chunks of a thread: as fast as T, and their error does not grow
// with the batch.
constexpr std::int64_t chunk_rows = 128;
constexpr std::int64_t chunk_columns = 512;

struct Chunk {
  std::int64_t row, rows;
  std::int64_t column, columns;
  std::int64_t rows_before;  // of the same thread
};

// add(chunk, first, second) takes a chunk into two rows of sums that belong to its thread, zero at the start and
// already moved to the chunk's column. Thread t's sums are at workspace + 2 * width * t; returns how many there are.
template <typename Add>
int for_each_chunk(std::int64_t rows, std::int64_t width, double* workspace, Add add) {
  int team = 1;
  in_shares(rows, rows * width > parallel_threshold, [=, &team](Range range) {
    const int thread = omp_get_thread_num();
    if (thread == 0) team = omp_get_num_threads();
    double* first = workspace + 2 * width * thread;
    double* second = first + width;
    for (std::int64_t i = 0; i < 2 * width; ++i) first[i] = 0;
    for (std::int64_t row = range.begin; row < range.end; row += chunk_rows) {
      const std::int64_t chunk_end = row + chunk_rows < range.end ? row + chunk_rows : range.end;
      for (std::int64_t column = 0; column < width; column += chunk_columns) {
        const std::int64_t column_end = column + chunk_columns < width ? column + chunk_columns : width;
        add(Chunk{row, chunk_end - row, column, column_end - column, row - range.begin}, first + column,
            second + column);
      }
    }
  });
  return team;
}

// Differences are taken from the mean so far, from the first row at the start: no cancellation where the mean is far
// from zero.
template <typename T>
void add_moments(const T* x, std::int64_t width, const Chunk& chunk, double* mean, double* spread) {
  T shift[chunk_columns], sum[chunk_columns], square[chunk_columns];
  const T* first_row = x + chunk.row * width + chunk.column;
  for (std::int64_t j = 0; j < chunk.columns; ++j) {
    shift[j] = chunk.rows_before > 0 ? T(mean[j]) : first_row[j];
    sum[j] = square[j] = T(0);
  }
  for (std::int64_t row = 0; row < chunk.rows; ++row) {
    const T* values = first_row + row * width;
#pragma omp simd
    for (std::int64_t j = 0; j < chunk.columns; ++j) {
      const T difference = values[j] - shift[j];
      sum[j] += difference;
      square[j] += difference * difference;
    }
  }
  for (std::int64_t j = 0; j < chunk.columns; ++j) {
    const double offset = double(sum[j]) / double(chunk.rows);
    math::merge_moments(double(chunk.rows_before), mean[j], spread[j], double(chunk.rows), double(shift[j]) + offset,
                        double(square[j]) - double(sum[j]) * offset);
  }
}

template <typename T>
void moments(const T* x, double* workspace, std::int64_t rows, std::int64_t width) {
  const int team = for_each_chunk(rows, width, workspace, [=](const Chunk& chunk, double* mean, double* spread) {
    add_moments(x, width, chunk, mean, spread);
  });
  for (int thread = 1; thread < team; ++thread) {
    const Range range = share_of(rows, thread, team);
    if (range.begin == range.end) continue;
    const double* partial = workspace + 2 * width * thread;
    for (std::int64_t j = 0; j < width; ++j) {
      math::merge_moments(double(range.begin), workspace[j], workspace[width + j], double(range.end - range.begin),
                          partial[j], partial[width + j]);
    }
  }
}

template <typename T>
inline T normalized(const ChannelNormalization<T>& columns, T x, std::int64_t j) {
  return math::normalized(x, columns.mean[j], columns.scale[j], columns.shift[j]);
}

// `residual` is a flag of the template: without one, its pointer is not read and the loop is that of a plain
// normalisation.
template <bool with_residual, typename T>
void normalize_with(const T* x, const ChannelNormalization<T>& columns, const T* residual, T* y, std::int64_t rows,
                    std::int64_t width) {
  const T floor = columns.relu ? T(0) : -T(HUGE_VAL);
  for_each_in_rows(rows, width, [=](std::int64_t i, std::int64_t j) {
    T value = normalized(columns, x[i], j);
    if constexpr (with_residual) value += residual[i];
    y[i] = value < floor ? floor : value;
  });
}

template <typename T>
void normalize(const T* x, const ChannelNormalization<T>& columns, const T* residual, T* y, std::int64_t rows,
               std::int64_t width) {
  const auto run = residual ? normalize_with<true, T> : normalize_with<false, T>;
  run(x, columns, residual, y, rows, width);
}

// What the ReLU is given depends on.
enum class Relu { none, of_normalized, of_sum };
template <typename T>
inline Relu relu_of(const ChannelNormalization<T>& columns, const T* residual) {
  if (!columns.relu) return Relu::none;
  return residual ? Relu::of_sum : Relu::of_normalized;
}

// The gradient of what the ReLU takes. Whether the ReLU was open follows from x and the residual: they are read here
// anyway, or cost no more than reading its output would.
template <Relu relu, typename T>
inline T passed(const ChannelNormalization<T>& columns, T x, const T* residual, T dy, std::int64_t i, std::int64_t j) {
  if constexpr (relu == Relu::of_sum) return math::relu_gradient(normalized(columns, x, j) + residual[i], dy);
  if constexpr (relu == Relu::of_normalized) return math::relu_gradient(normalized(columns, x, j), dy);
  return dy;
}

template <Relu relu, typename T>
void add_gradient_sums(const T* x, const ChannelNormalization<T>& columns, const T* residual, const T* dy,
                       std::int64_t width, const Chunk& chunk, double* plain_total, double* weighted_total) {
  T plain[chunk_columns] = {}, weighted[chunk_columns] = {};
  const ChannelNormalization<T> own{columns.mean + chunk.column, columns.scale + chunk.column,
                                    columns.shift + chunk.column, columns.relu};
  for (std::int64_t row = chunk.row; row < chunk.row + chunk.rows; ++row) {
    const std::int64_t first = row * width + chunk.column;
#pragma omp simd
    for (std::int64_t j = 0; j < chunk.columns; ++j) {
      const T g = passed<relu>(own, x[first + j], residual, dy[first + j], first + j, j);
      plain[j] += g;
      weighted[j] += g * (x[first + j] - own.mean[j]);
    }
  }
  for (std::int64_t j = 0; j < chunk.columns; ++j) {
    plain_total[j] += double(plain[j]);
    weighted_total[j] += double(weighted[j]);
  }
}

template <Relu relu, typename T>
void gradient_sums_with(const T* x, const ChannelNormalization<T>& columns, const T* residual, const T* dy,
                        double* workspace, std::int64_t rows, std::int64_t width) {
  const int team = for_each_chunk(rows, width, workspace, [=](const Chunk& chunk, double* plain, double* weighted) {
    add_gradient_sums<relu>(x, columns, residual, dy, width, chunk, plain, weighted);
  });
  for (int thread = 1; thread < team; ++thread) {
    const double* partial = workspace + 2 * width * thread;
    for (std::int64_t j = 0; j < 2 * width; ++j) workspace[j] += partial[j];
  }
}

template <typename T>
void gradient_sums(const T* x, const ChannelNormalization<T>& columns, const T* residual, const T* dy,
                   double* workspace, std::int64_t rows, std::int64_t width) {
  switch (relu_of(columns, residual)) {
    case Relu::none: return gradient_sums_with<Relu::none>(x, columns, residual, dy, workspace, rows, width);
    case Relu::of_normalized:
      return gradient_sums_with<Relu::of_normalized>(x, columns, residual, dy, workspace, rows, width);
    case Relu::of_sum: return gradient_sums_with<Relu::of_sum>(x, columns, residual, dy, workspace, rows, width);
  }
}

template <Relu relu, bool with_dresidual, typename T>
void gradient_with(const T* x, const ChannelNormalization<T>& columns, const T* residual, const T* dy, const T* slope,
                   const T* offset, T* dx, T* dresidual, std::int64_t rows, std::int64_t width) {
  for_each_in_rows(rows, width, [=](std::int64_t i, std::int64_t j) {
    const T g = passed<relu>(columns, x[i], residual, dy[i], i, j);
    if constexpr (with_dresidual) dresidual[i] = g;
    dx[i] = math::normalization_gradient(g, x[i], columns.mean[j], columns.scale[j], slope[j], offset[j]);
  });
}

template <Relu relu, typename T>
void gradient_of(const T* x, const ChannelNormalization<T>& columns, const T* residual, const T* dy, const T* slope,
                 const T* offset, T* dx, T* dresidual, std::int64_t rows, std::int64_t width) {
  const auto run = dresidual ? gradient_with<relu, true, T> : gradient_with<relu, false, T>;
  run(x, columns, residual, dy, slope, offset, dx, dresidual, rows, width);
}

template <typename T>
void gradient(const T* x, const ChannelNormalization<T>& columns, const T* residual, const T* dy, const T* slope,
              const T* offset, T* dx, T* dresidual, std::int64_t rows, std::int64_t width) {
  const auto run = [&] {
    switch (relu_of(columns, residual)) {
      case Relu::none: return gradient_of<Relu::none, T>;
      case Relu::of_normalized: return gradient_of<Relu::of_normalized, T>;
      case Relu::of_sum: break;
    }
    return gradient_of<Relu::of_sum, T>;
  }();
  run(x, columns, residual, dy, slope, offset, dx, dresidual, rows, width);
}

}  // namespace

template <typename T>
BatchNormKernels<T> make_batch_norm_kernels() {
  return {moments<T>, normalize<T>, gradient_sums<T>, gradient<T>};
}

template BatchNormKernels<float> make_batch_norm_kernels();
template BatchNormKernels<double> make_batch_norm_kernels();

}  // namespace sn::cpu::SN_ISA

// Sums in an order that never changes, whatever runs beside them. Over a block: block_sum. Over the rows of a matrix,
// for each channel: fold_columns. And the layout of threads that it shares with all that differs from channel to
// channel: for_each_column.
#pragma once

#include <algorithm>
#include <type_traits>

#include "core/dispatch.h"
#include "cuda/launch.h"
#include "cuda/primitives.h"

namespace sn::cuda {

// Over a block of `threads`, the same in every thread; all of them call it.
template <int threads, typename T>
__device__ __forceinline__ T block_sum(T value) {
  constexpr int warps = threads / warp_size;
  SN_SHARED(T, sums, warps);
  const T of_warp = warp_sum(value);
  if (lane_id() == 0) sums[warp_id()] = of_warp;
  sync_threads();
  const T total = warp_sum(lane_id() < warps ? sums[lane_id()] : T(0));
  sync_threads();  // the next call writes the array again
  return total;
}

// Calls function(T{}, std::integral_constant<int, width>{}) for the floating type T of x and the widest pack that
// divides its channels.
template <typename Function>
void by_column(const Tensor& x, Function&& function) {
  by_dtype(x.dtype, [&](auto tag) {
    using T = decltype(tag);
    if (x.shape.back() % pack_size<T> == 0) return function(tag, std::integral_constant<int, pack_size<T>>{});
    function(tag, std::integral_constant<int, 1>{});
  });
}

// Groups of `rows` rows of `channels` elements, one after the other: images of pixels, or one group of all pixels.
struct RowGroups {
  std::int64_t groups, rows, channels;
};
inline RowGroups all_rows(const Tensor& x) {
  const std::int64_t channels = x.shape.back();
  return {1, channels == 0 ? 0 : x.count() / channels, channels};
}

// How blocks share the rows. A thread keeps to one column, a pack of channels, so that what belongs to a channel is
// loaded once; a block takes columns that lie side by side, and as many rows as it has threads for them.
constexpr int column_threads = 256;
struct ColumnLayout {
  RowGroups extents;
  int width;                           // channels in a column
  int block_columns, block_rows;       // of a block
  unsigned column_blocks, row_blocks;  // that cover a group; rows in several rounds

  unsigned blocks() const { return static_cast<unsigned>(extents.groups) * row_blocks * column_blocks; }
};

inline ColumnLayout column_layout(const RowGroups& extents, int width, std::int64_t rows_a_thread,
                                  std::int64_t most_blocks) {
  const std::int64_t columns = extents.channels / width;
  // 512 bytes of a row keep memory busy; more columns would leave fewer threads for the rows.
  const std::int64_t column_blocks = ceil_div<std::int64_t>(columns, width > 1 ? 32 : 64);
  const std::int64_t block_columns = ceil_div(columns, column_blocks);
  const std::int64_t block_rows = column_threads / block_columns;
  const std::int64_t most_row_blocks = std::max<std::int64_t>(most_blocks / (column_blocks * extents.groups), 1);
  const std::int64_t row_blocks =
      std::clamp<std::int64_t>(ceil_div(extents.rows, block_rows * rows_a_thread), 1, most_row_blocks);
  return {extents,
          width,
          static_cast<int>(block_columns),
          static_cast<int>(block_rows),
          static_cast<unsigned>(column_blocks),
          static_cast<unsigned>(row_blocks)};
}

// What a thread works on.
struct ColumnThread {
  std::int64_t group;
  std::int64_t row, end, step;  // its rows, counted over all groups
  std::int64_t column;          // its first channel
  std::int64_t channels;
  int block_row;
  bool inside;  // it has a column at all

  __device__ std::int64_t index(std::int64_t of_row) const { return of_row * channels + column; }
};

__device__ __forceinline__ ColumnThread column_thread(const ColumnLayout& layout) {
  const int thread = static_cast<int>(threadIdx.x);
  const int block_row = thread / layout.block_columns;
  const int block_column = thread % layout.block_columns;
  const unsigned tile = blockIdx.x / layout.column_blocks;
  const unsigned column_block = blockIdx.x % layout.column_blocks;
  const unsigned row_block = tile % layout.row_blocks;
  const std::int64_t group = tile / layout.row_blocks;
  const std::int64_t first_row = group * layout.extents.rows;
  const std::int64_t column = (std::int64_t{column_block} * layout.block_columns + block_column) * layout.width;
  return {group,
          first_row + std::int64_t{row_block} * layout.block_rows + block_row,
          first_row + layout.extents.rows,
          std::int64_t{layout.row_blocks} * layout.block_rows,
          column,
          layout.extents.channels,
          block_row,
          block_row < layout.block_rows && column < layout.extents.channels};
}

template <typename Function>
__global__ void __launch_bounds__(column_threads) apply_to_columns(ColumnLayout layout, Function function) {
  const ColumnThread at = column_thread(layout);
  if (at.inside) function(at);
}

// function: a struct with `__device__ void operator()(const ColumnThread&) const`, which goes through the rows.
template <typename Function>
void for_each_column(const char* op, cudaStream_t stream, const RowGroups& extents, int width,
                     const Function& function) {
  if (extents.groups * extents.rows * extents.channels == 0) return;
  constexpr std::int64_t most_blocks = layout_multiprocessors * 16;  // all that run at once, twice
  const ColumnLayout layout = column_layout(extents, width, 1, most_blocks);
  launch({op, stream, layout.blocks(), column_threads}, apply_to_columns<Function>, layout, function);
}

// Folding ---------------------------------------------------------------------------------------------------------
// A State holds what is known of some rows of one channel: doubles, all zero for no rows, and `merge(State)`. A Fold
// names its State and `width` and takes rows in with `add(Run, states)`, where states[i] is that of the run's i-th
// channel. A Finish gets the State of each channel of each group: `finish(group * channels + channel, State)`.

template <int count>
struct Sums {
  double of[count];

  __device__ void merge(const Sums& other) {
    for (int i = 0; i < count; ++i) of[i] += other.of[i];
  }
};

// A few rows of one column, for which sums in T are exact enough.
struct Run {
  std::int64_t column;         // first channel
  std::int64_t first, stride;  // index of the first element, and from row to row
  int rows;

  __device__ std::int64_t index(int row) const { return first + row * stride; }
};
constexpr int run_rows = 32;

inline ColumnLayout fold_layout(const RowGroups& extents, int width) {
  constexpr std::int64_t most_blocks = layout_multiprocessors * 3;  // all that run at once, at 80 registers a thread
  return column_layout(extents, width, 8, most_blocks);
}

// The states of a thread lie in shared memory: registers are for the elements on their way.
template <typename Array>
struct ThreadStates {
  Array& shared;
  int thread;

  __device__ auto& operator[](int i) const { return shared[i * column_threads + thread]; }
};

// From the last row to the first. The kernel that wrote the rows ended with the last ones: they are still in the L2
// cache. This one ends with the first, which the next kernel then finds there.
template <typename Fold, typename States>
__device__ __forceinline__ void fold_rows(const ColumnThread& at, const Fold& fold, const States& states) {
  const std::int64_t rows = (at.end - at.row + at.step - 1) / at.step;
  for (std::int64_t left = rows; left > 0; left -= run_rows) {
    const std::int64_t first = at.index(at.row + (left - 1) * at.step);
    const int run = static_cast<int>(left < run_rows ? left : run_rows);
    fold.add(Run{at.column, first, -at.step * at.channels, run}, states);
  }
}

// partials[group, row block, channel], unless one block has seen all rows of its columns.
template <typename Fold, typename Finish>
__global__ void __launch_bounds__(column_threads, 3)
    fold_blocks(ColumnLayout layout, Fold fold, Finish finish, typename Fold::State* partials) {
  SN_SHARED(typename Fold::State, shared, column_threads * Fold::width);
  const ThreadStates<decltype(shared)> states{shared, static_cast<int>(threadIdx.x)};
  const ColumnThread at = column_thread(layout);
  for (int i = 0; i < Fold::width; ++i) states[i] = {};
  if (at.inside) fold_rows(at, fold, states);
  sync_threads();
  for (int rows = layout.block_rows; rows > 1;) {
    const int half = (rows + 1) / 2;
    if (at.block_row + half < rows) {
      const ThreadStates<decltype(shared)> others{shared, states.thread + half * layout.block_columns};
      SN_UNROLL(1)
      for (int i = 0; i < Fold::width; ++i) states[i].merge(others[i]);
    }
    sync_threads();
    rows = half;
  }
  if (!at.inside || at.block_row > 0) return;
  const unsigned tile = blockIdx.x / layout.column_blocks;
  const std::int64_t first = tile * at.channels + at.column;
  SN_UNROLL(1)
  for (int i = 0; i < Fold::width; ++i) {
    if (layout.row_blocks == 1) {
      finish(first + i, states[i]);
    } else {
      partials[first + i] = states[i];
    }
  }
}

// Four channels a block, a sector of doubles; the row blocks are dealt out to its slices.
constexpr int finish_channels = 4;
template <typename State, typename Finish>
__global__ void __launch_bounds__(column_threads)
    finish_blocks(ColumnLayout layout, const State* partials, Finish finish) {
  constexpr int slices = column_threads / finish_channels;
  SN_SHARED(State, shared, column_threads);
  const int thread = static_cast<int>(threadIdx.x);
  const int slice = thread / finish_channels;
  const std::int64_t channels = layout.extents.channels;
  const std::int64_t output = std::int64_t{blockIdx.x} * finish_channels + thread % finish_channels;
  const std::int64_t group = output / channels;
  const bool inside = group < layout.extents.groups;
  State state = {};
  if (inside) {
    const State* of_channel = partials + group * layout.row_blocks * channels + output % channels;
    for (unsigned block = slice; block < layout.row_blocks; block += slices) state.merge(of_channel[block * channels]);
  }
  shared[thread] = state;
  sync_threads();
  for (int half = slices / 2; half > 0; half /= 2) {
    if (slice < half) shared[thread].merge(shared[thread + half * finish_channels]);
    sync_threads();
  }
  if (inside && slice == 0) finish(output, shared[thread]);
}

// The shape of the partials of fold_columns, in doubles.
template <typename Fold>
Shape partials_shape(const ColumnLayout& layout) {
  constexpr std::int64_t state_doubles = sizeof(typename Fold::State) / sizeof(double);
  const std::int64_t partials = layout.row_blocks > 1 ? layout.extents.groups * layout.row_blocks : 0;
  return {partials, layout.extents.channels, state_doubles};
}

// partials: scratch of f64.
template <typename Fold, typename Finish>
void fold_columns(const char* op, cudaStream_t stream, const ColumnLayout& layout, const Fold& fold,
                  const Finish& finish, const Tensor& partials) {
  using State = typename Fold::State;
  State* states = static_cast<State*>(partials.write<void>());
  launch({op, stream, layout.blocks(), column_threads}, fold_blocks<Fold, Finish>, layout, fold, finish, states);
  if (layout.row_blocks == 1) return;
  const std::int64_t outputs = layout.extents.groups * layout.extents.channels;
  launch({op, stream, static_cast<unsigned>(ceil_div<std::int64_t>(outputs, finish_channels)), column_threads},
         finish_blocks<State, Finish>, layout, states, finish);
}

}  // namespace sn::cuda

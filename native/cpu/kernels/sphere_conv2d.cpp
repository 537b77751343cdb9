// What SphereConv adds to a convolution: patch norms by box sums, g on the way out, u/|p| and the reductions on the
// way back. Bytes, in passes over the output y: forward reads dot and writes kept and y; backward reads dy and kept and
// writes v. Over the input x: one read for the norms, one read-modify-write of dx. Nothing of patch size.
#include <omp.h>

#include "cpu/kernels/constant.h"
#include "cpu/kernels/make.h"
#include "cpu/kernels/parallel.h"
#include "math/filters.h"

namespace sn::cpu {
namespace SN_ISA {
namespace {

// Positions whose per-filter sums stay in T before they go to float64.
constexpr std::int64_t block_positions = 128;
// An element costs more here than elsewhere: threads pay sooner.
constexpr std::int64_t sphere_threshold = parallel_threshold / 2;

// Rows go by parts of a constant size, so that short rows are not all remainder; with one loop in the function its
// constants stay in registers from row to row. Calls part(first number, how many) at least once; `size`, a constant or
// not, divides the row.
constexpr int lanes = 16;

template <typename Size, typename Part>
inline __attribute__((always_inline)) void for_each_part(int first, int last, Size size, Part part) {
  do {
    part(first, size);
    first += size;
  } while (first < last);
}

// The sum of each row of a block, from its sums by lanes. In two steps, the second across rows: of an OpenMP reduction
// GCC 12 adds the lanes one after the other.
template <typename T>
struct RowSums {
  T quarters[block_positions * 4];

  inline __attribute__((always_inline)) void put(std::int64_t row, const T* by_lane) {
    static_assert(lanes == 16);
    for (int i = 0; i < 4; ++i)
      quarters[row * 4 + i] = (by_lane[i] + by_lane[i + 4]) + (by_lane[i + 8] + by_lane[i + 12]);
  }
  inline __attribute__((always_inline)) T of(std::int64_t row) const {
    const T* q = quarters + row * 4;
    return (q[0] + q[1]) + (q[2] + q[3]);
  }
};

// Width is a constant for the few channels of images, so that vectors go across pixels.
template <typename T, typename Width>
__attribute__((noinline)) void squares_of_rows(const T* __restrict x, T* __restrict squares, std::int64_t rows,
                                             Width width) {
#pragma omp simd
  for (std::int64_t row = 0; row < rows; ++row) {
    T sum = 0;
    for (int c = 0; c < width; ++c) sum += x[row * width + c] * x[row * width + c];
    squares[row] = sum;
  }
}

// Of rows of whole parts.
template <typename T>
__attribute__((noinline)) void squares_of_block(const T* __restrict x, T* __restrict squares, std::int64_t rows,
                                              int width) {
  RowSums<T> sums;
  for (std::int64_t row = 0; row < rows; ++row) {
    const T* __restrict values = x + row * width;
    T by_lane[lanes];
#pragma omp simd
    for (int i = 0; i < lanes; ++i) by_lane[i] = values[i] * values[i];
    for (int first = lanes; first < width; first += lanes) {
#pragma omp simd
      for (int i = 0; i < lanes; ++i) by_lane[i] += values[first + i] * values[first + i];
    }
    sums.put(row, by_lane);
  }
  for (std::int64_t row = 0; row < rows; ++row) squares[row] = sums.of(row);
}

template <typename T>
void pixel_squares(const T* x, T* squares, std::int64_t pixels, int channels, int groups) {
  const int width = channels / groups;
  in_shares(pixels * groups, pixels * channels > sphere_threshold, [=](Range range) {
    const std::int64_t rows = range.end - range.begin;
    const T* from = x + range.begin * width;
    T* to = squares + range.begin;
    if (width == 1) return squares_of_rows(from, to, rows, Constant<1>());
    if (width == 3) return squares_of_rows(from, to, rows, Constant<3>());
    if (width == 4) return squares_of_rows(from, to, rows, Constant<4>());
    if (width % lanes != 0) return squares_of_rows(from, to, rows, width);
    for (std::int64_t first = 0; first < rows; first += block_positions) {
      const std::int64_t count = rows - first < block_positions ? rows - first : block_positions;
      squares_of_block(from + first * width, to + first, count, width);
    }
  });
}

// The outputs [first, last) along one axis whose tap at `offset` (kernel index * dilation - padding) falls inside.
struct Outputs {
  int first, last;
};
inline Outputs covered(int offset, int stride, int in, int out) {
  const int first = offset >= 0 ? 0 : (-offset + stride - 1) / stride;
  const int room = in - 1 - offset;
  const int last = room < 0 ? 0 : room / stride + 1;
  return {first, last < out ? last : out};
}

// Calls body(first pixel, first window, count) for every run of taps of one image: window i sees pixel i * stride.
template <typename Body>
inline __attribute__((always_inline)) void for_each_run(const Box& box, Body body) {
  const Window& w = box.window;
  for (int kh = 0; kh < w.kernel_h; ++kh) {
    const int offset_h = kh * w.dilation_h - w.padding_h;
    const Outputs rows = covered(offset_h, w.stride_h, box.in_h, box.out_h);
    for (int kw = 0; kw < w.kernel_w; ++kw) {
      const int offset_w = kw * w.dilation_w - w.padding_w;
      const Outputs columns = covered(offset_w, w.stride_w, box.in_w, box.out_w);
      if (columns.first >= columns.last) continue;
      for (int oh = rows.first; oh < rows.last; ++oh) {
        const int in_row = oh * w.stride_h + offset_h;
        const int in_column = columns.first * w.stride_w + offset_w;
        body((static_cast<std::int64_t>(in_row) * box.in_w + in_column) * box.groups,
             (static_cast<std::int64_t>(oh) * box.out_w + columns.first) * box.groups, columns.last - columns.first);
      }
    }
  }
}

// Adds up every run of taps: from pixels to the windows that see them, or back.
template <typename T, bool transposed>
void box_sum(const T* in, T* out, std::int64_t images, const Box& box) {
  const std::int64_t pixels = static_cast<std::int64_t>(box.in_h) * box.in_w * box.groups;
  const std::int64_t windows = static_cast<std::int64_t>(box.out_h) * box.out_w * box.groups;
  const std::int64_t source_size = transposed ? windows : pixels;
  const std::int64_t target_size = transposed ? pixels : windows;
  const int groups = box.groups;
  const int stride = box.window.stride_w;
  const int source_step = transposed ? groups : stride * groups;
  const int target_step = transposed ? stride * groups : groups;
  in_shares(images, images * pixels > sphere_threshold, [=](Range range) {
    for (std::int64_t n = range.begin; n < range.end; ++n) {
      const T* source = in + n * source_size;
      T* target = out + n * target_size;
      for (std::int64_t i = 0; i < target_size; ++i) target[i] = 0;
      for_each_run(box, [=](std::int64_t pixel, std::int64_t window, int count) {
        const T* from = source + (transposed ? window : pixel);
        T* to = target + (transposed ? pixel : window);
        if (stride == 1) {
          for (int i = 0; i < count * groups; ++i) to[i] += from[i];
        } else {
          for (int i = 0; i < count; ++i)
            for (int g = 0; g < groups; ++g) to[i * target_step + g] += from[i * source_step + g];
        }
      });
    }
  });
}

template <typename T>
void inverse_norms(T* values, std::int64_t count, T eps, bool add) {
  in_shares(count, count > sphere_threshold, [=](Range range) {
#pragma omp simd
    for (std::int64_t i = range.begin; i < range.end; ++i) values[i] = math::guarded_inverse_norm(values[i], eps, add);
  });
}

// Rows of `stride` numbers, of which [first, last) are gone through. A narrow block goes through all columns of rows
// that hold several positions and groups: `owner` of a column is whose inverse norm it takes, `owners` of them a row,
// `width` columns each. Otherwise a row has one inverse norm, `owners` apart.
//
// The loops over it are functions of their own with restrict pointers: inlined into an OpenMP region, GCC 12 leaves
// them scalar.
struct Block {
  std::int64_t rows;
  int stride, first, last;
  int owners, width;
  const int* owner;
};

template <typename T, typename Filters, bool narrow, typename Size>
__attribute__((noinline)) void forward_block(T* __restrict kept, T* __restrict y, const T* __restrict inv_patch_norm,
                                           const T* __restrict bias, const Filters filters, const Block block,
                                           Size size) {
  const int* __restrict owner = block.owner;
  // Two passes: the chain from the dot product to y is longer than what a processor looks ahead, of half of it more
  // vectors are under way at a time.
  for (std::int64_t row = 0; row < block.rows; ++row) {
    const T* __restrict inverses = inv_patch_norm + row * block.owners;
    const T inverse = inverses[0];
    for_each_part(block.first, block.last, size, [&](int first, auto count) __attribute__((always_inline)) {
      T* __restrict kept_row = kept + row * block.stride + first;
#pragma omp simd
      for (int i = 0; i < count; ++i) {
        kept_row[i] = filters.kept(kept_row[i] * (narrow ? inverses[owner[first + i]] : inverse));
      }
    });
  }
  for (std::int64_t row = 0; row < block.rows; ++row) {
    for_each_part(block.first, block.last, size, [&](int first, auto count) __attribute__((always_inline)) {
      const T* __restrict kept_row = kept + row * block.stride + first;
      T* __restrict y_row = y + row * block.stride + first;
#pragma omp simd
      for (int i = 0; i < count; ++i) y_row[i] = filters.value(first + i, kept_row[i]) + bias[first + i];
    });
  }
}

// r of a row of owners. Width is a constant for few filters, so that vectors go across owners.
template <typename T, typename Width>
__attribute__((noinline)) void radial_of_owners(const T* __restrict products, const T* __restrict inverses,
                                              T* __restrict r, int owners, Width width) {
#pragma omp simd
  for (int i = 0; i < owners; ++i) {
    T sum = 0;
    for (int o = 0; o < width; ++o) sum += products[i * width + o];
    r[i] = sum * inverses[i] * inverses[i];
  }
}

// The sums of a thread's block: a row of `stride` numbers each.
template <typename T>
struct BlockSums {
  T *radial, *dk, *dbias;
  T* products;  // workspace for a row
};

template <typename T, typename Filters, bool with_dk, bool with_dbias, bool narrow, typename Size>
__attribute__((noinline)) void backward_block(const T* __restrict dy, const T* __restrict kept,
                                            const T* __restrict inv_patch_norm, T* __restrict v, T* __restrict r,
                                            const BlockSums<T> block_sums, const Filters filters, const Block block,
                                            Size size) {
  const int* __restrict owner = block.owner;
  T* __restrict radial = block_sums.radial;
  T* __restrict dk = block_sums.dk;
  T* __restrict dbias = block_sums.dbias;
  T* __restrict products = block_sums.products;
  RowSums<T> sums;
  for (std::int64_t row = 0; row < block.rows; ++row) {
    const T* __restrict inverses = inv_patch_norm + row * block.owners;
    const T inverse = inverses[0];
    const T* __restrict dy_row = dy + row * block.stride;
    const T* __restrict kept_row = kept + row * block.stride;
    T* __restrict v_row = v + row * block.stride;
    T by_lane[lanes] = {};
    for_each_part(block.first, block.last, size, [&](int first, auto count) __attribute__((always_inline)) {
#pragma omp simd
      for (int i = 0; i < count; ++i) {
        const int o = first + i;
        const T a = kept_row[o];
        const T u = dy_row[o] * filters.gradient(o, a);
        const T product = u * filters.cosine(a);
        v_row[o] = u * (narrow ? inverses[owner[o]] : inverse);
        if (narrow) {
          products[o] = product;
        } else {
          by_lane[i] += product;
        }
        radial[o] += product;
        if (with_dk) dk[o] += dy_row[o] * filters.curvature_gradient(o, a);
        if (with_dbias) dbias[o] += dy_row[o];
      }
    });
    if (!narrow) {
      sums.put(row, by_lane);
      continue;
    }
    const int owners = block.last / block.width;
    T* r_row = r + row * block.owners;
    if (block.width == 4) {
      radial_of_owners(products, inverses, r_row, owners, Constant<4>());
    } else {
      radial_of_owners(products, inverses, r_row, owners, block.width);
    }
  }
  if (narrow) return;
  for (std::int64_t row = 0; row < block.rows; ++row) {
    const T inverse = inv_patch_norm[row * block.owners];
    r[row * block.owners] = sums.of(row) * inverse * inverse;
  }
}

// Calls pass(narrow or not, size of parts, first number, first inverse norm, block) until `count` positions from
// `first` are through. A row of no whole number of vectors is one part, as are the positions that fill no row.
template <typename Pass>
inline __attribute__((always_inline)) void for_each_pass(const SphereRows& rows, std::int64_t first, std::int64_t count,
                                                         Pass pass) {
  const int width = rows.filters / rows.groups;
  const std::int64_t number = first * rows.filters;
  const std::int64_t owner = first * rows.groups;
  if (width % lanes == 0) {
    for (int group = 0; group < rows.groups; ++group) {
      pass(Constant<false>(), Constant<lanes>(), number, owner + group,
           Block{count, rows.filters, group * width, (group + 1) * width, rows.groups, width, nullptr});
    }
    return;
  }
  const int stride = rows.filters * rows.copies;
  const std::int64_t whole = count / rows.copies;
  const int owners = rows.groups * rows.copies;
  const Block block{whole, stride, 0, stride, owners, width, rows.owner};
  if (stride % lanes == 0) {
    pass(Constant<true>(), Constant<lanes>(), number, owner, block);
  } else {
    pass(Constant<true>(), stride, number, owner, block);
  }
  const int rest = static_cast<int>(count - whole * rows.copies) * rows.filters;
  if (rest == 0) return;
  pass(Constant<true>(), rest, number + whole * stride, owner + whole * owners,
       Block{1, stride, 0, rest, owners, width, rows.owner});
}

// body(first position, how many) for every block of [range.begin, range.end).
template <typename Body>
inline __attribute__((always_inline)) void for_each_block(Range range, Body body) {
  for (std::int64_t first = range.begin; first < range.end; first += block_positions) {
    body(first, range.end - first < block_positions ? range.end - first : block_positions);
  }
}

template <typename T, typename Filters>
void forward_with(T* kept, T* y, const T* inv_patch_norm, const SphereRows& rows, const SphereFilters<T>& parameters) {
  const Filters per_filter(parameters);
  const T* bias = parameters.bias;
  in_shares(rows.positions, rows.positions * rows.filters > sphere_threshold, [=](Range range) {
    for_each_block(range, [&](std::int64_t first, std::int64_t count) {
      for_each_pass(rows, first, count,
                    [&](auto narrow, auto size, std::int64_t number, std::int64_t owner, const Block& block) {
                      forward_block<T, Filters, narrow != 0>(kept + number, y + number, inv_patch_norm + owner, bias,
                                                             per_filter, block, size);
                    });
    });
  });
}

template <typename T>
void forward(Angular angular, T* kept, T* y, const T* inv_patch_norm, const SphereRows& rows,
             const SphereFilters<T>& parameters) {
  switch (angular) {
    case Angular::linear:
      return forward_with<T, math::LinearFilters<T>>(kept, y, inv_patch_norm, rows, parameters);
    case Angular::cosine:
      return forward_with<T, math::CosineFilters<T>>(kept, y, inv_patch_norm, rows, parameters);
    case Angular::sigmoid:
      return forward_with<T, math::SigmoidFilters<T>>(kept, y, inv_patch_norm, rows, parameters);
  }
}

template <typename T, typename Filters, bool with_dk, bool with_dbias>
void backward_rows(const T* dy, const T* kept, const T* inv_patch_norm, T* v, T* r, const SphereRows& rows,
                   const SphereFilters<T>& parameters, const SphereSums<T>& sums) {
  const Filters per_filter(parameters);
  const int stride = rows.filters * rows.copies;
  const int all_sums = stride * 3;
  int threads = 1;
  int* team = &threads;
  in_shares(rows.positions, rows.positions * rows.filters > sphere_threshold, [=](Range range) {
    const int thread = omp_get_thread_num();
    if (thread == 0) *team = omp_get_num_threads();
    T* block_sums = sums.block + thread * (all_sums + stride + block_gap);
    double* total = sums.thread + thread * all_sums;
    for (int i = 0; i < all_sums; ++i) total[i] = 0;
    for_each_block(range, [&](std::int64_t first, std::int64_t count) {
      for (int i = 0; i < all_sums; ++i) block_sums[i] = 0;
      const BlockSums<T> by_column{block_sums, block_sums + stride, block_sums + 2 * stride, block_sums + all_sums};
      for_each_pass(rows, first, count,
                    [&](auto narrow, auto size, std::int64_t number, std::int64_t owner, const Block& block) {
                      backward_block<T, Filters, with_dk, with_dbias, narrow != 0>(
                          dy + number, kept + number, inv_patch_norm + owner, v + number, r + owner, by_column,
                          per_filter, block, size);
                    });
      for (int i = 0; i < all_sums; ++i) total[i] += block_sums[i];
    });
  });
  for (int row = 0; row < threads * rows.copies; ++row) {
    const int thread = row / rows.copies;
    const double* total = sums.thread + thread * all_sums + (row - thread * rows.copies) * rows.filters;
    for (int o = 0; o < rows.filters; ++o) {
      sums.radial[o] += total[o];
      if (with_dk) sums.dk[o] += total[stride + o];
      if (with_dbias) sums.dbias[o] += total[2 * stride + o];
    }
  }
}

template <typename T, typename Filters, bool with_dk>
void backward_with(const T* dy, const T* kept, const T* inv_patch_norm, T* v, T* r, const SphereRows& rows,
                   const SphereFilters<T>& parameters, const SphereSums<T>& sums) {
  if (sums.dbias) {
    backward_rows<T, Filters, with_dk, true>(dy, kept, inv_patch_norm, v, r, rows, parameters, sums);
  } else {
    backward_rows<T, Filters, with_dk, false>(dy, kept, inv_patch_norm, v, r, rows, parameters, sums);
  }
}

template <typename T>
void backward(Angular angular, const T* dy, const T* kept, const T* inv_patch_norm, T* v, T* r,
              const SphereRows& rows, const SphereFilters<T>& parameters, const SphereSums<T>& sums) {
  switch (angular) {
    case Angular::linear:
      return backward_with<T, math::LinearFilters<T>, false>(dy, kept, inv_patch_norm, v, r, rows, parameters, sums);
    case Angular::cosine:
      return backward_with<T, math::CosineFilters<T>, false>(dy, kept, inv_patch_norm, v, r, rows, parameters, sums);
    case Angular::sigmoid:
      if (sums.dk) {
        return backward_with<T, math::SigmoidFilters<T>, true>(dy, kept, inv_patch_norm, v, r, rows, parameters, sums);
      }
      return backward_with<T, math::SigmoidFilters<T>, false>(dy, kept, inv_patch_norm, v, r, rows, parameters, sums);
  }
}

template <typename T>
void subtract_radial(T* dx, const T* x, const T* weight, std::int64_t pixels, int channels, int groups) {
  const int width = channels / groups;
  in_shares(pixels * groups, pixels * channels > sphere_threshold, [=](Range range) {
    for (std::int64_t row = range.begin; row < range.end; ++row) {
      const T factor = weight[row];
      T* out = dx + row * width;
      const T* in = x + row * width;
#pragma omp simd
      for (int c = 0; c < width; ++c) out[c] -= in[c] * factor;
    }
  });
}

}  // namespace

template <typename T>
SphereKernels<T> make_sphere_kernels() {
  return {pixel_squares<T>, box_sum<T, false>, box_sum<T, true>, inverse_norms<T>,
          forward<T>,       backward<T>,       subtract_radial<T>};
}
template SphereKernels<float> make_sphere_kernels<float>();
template SphereKernels<double> make_sphere_kernels<double>();

}  // namespace SN_ISA
}  // namespace sn::cpu

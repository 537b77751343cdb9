// What SphereConv adds to a convolution: g on the way out, and on the way back u/|p| with the reductions over filters
// and over positions. In passes over the output y, forward reads the dot products and writes s and y; backward reads dy
// and s and writes v.
#include <omp.h>

#include "cpu/kernels/constant.h"
#include "cpu/kernels/make.h"
#include "cpu/kernels/row_sums.h"
#include "math/angular.h"

namespace sn::cpu::SN_ISA {
namespace {

// Rows go in parts of a constant size, so that a short row is not all remainder; with one loop in the function, its
// constants stay in registers from row to row. Calls part(first number, how many) at least once; `size`, which may be a
// Constant, divides the row.
template <typename Size, typename Part>
inline __attribute__((always_inline)) void for_each_part(int first, int last, Size size, Part part) {
  do {
    part(first, size);
    first += size;
  } while (first < last);
}

// Rows of `stride` numbers, of which the columns [first, last) are gone through. In a narrow block a row holds several
// positions and groups, `owners` of them with `width` columns each, and owner[column] says which inverse norm belongs
// to the column. In a wide block all columns of a row share one inverse norm; those of the next row are `owners`
// further on.
//
// The loops over a block are functions of their own with restrict pointers: inlined into an OpenMP region, GCC 12
// leaves them scalar.
struct Block {
  std::int64_t rows;
  int stride, first, last;
  int owners, width;
  const int* owner;
};

template <typename T, typename Filters, bool narrow, typename Size>
__attribute__((noinline)) void forward_block(T* __restrict s, T* __restrict y, const T* __restrict inv_patch_norm,
                                             const T* __restrict bias, const Filters filters, const Block block,
                                             Size size) {
  const int* __restrict owner = block.owner;
  // Two passes, because the chain of operations from the dot product to y is longer than a processor looks ahead: with
  // half of it in a pass, more vectors are in flight at a time.
  for (std::int64_t row = 0; row < block.rows; ++row) {
    const T* __restrict inverses = inv_patch_norm + row * block.owners;
    const T inverse = inverses[0];
    for_each_part(
        block.first, block.last, size, [&](int first, auto count) __attribute__((always_inline)) {
          T* __restrict s_row = s + row * block.stride + first;
#pragma omp simd
          for (int i = 0; i < count; ++i) {
            s_row[i] = filters.saved(s_row[i] * (narrow ? inverses[owner[first + i]] : inverse));
          }
        });
  }
  for (std::int64_t row = 0; row < block.rows; ++row) {
    for_each_part(
        block.first, block.last, size, [&](int first, auto count) __attribute__((always_inline)) {
          const T* __restrict s_row = s + row * block.stride + first;
          T* __restrict y_row = y + row * block.stride + first;
#pragma omp simd
          for (int i = 0; i < count; ++i) y_row[i] = filters.value(first + i, s_row[i]) + bias[first + i];
        });
  }
}

// r of a row of a narrow block. `width` is a Constant for few filters: vectors then go across owners.
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

// The sums over a block: a row of `stride` numbers each.
template <typename T>
struct BlockSums {
  T *radial, *dk, *dbias;
  T* products;  // workspace for a row
};

template <typename T, typename Filters, bool with_dk, bool with_dbias, bool narrow, typename Size>
__attribute__((noinline)) void backward_block(const T* __restrict dy, const T* __restrict s,
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
    const T* __restrict s_row = s + row * block.stride;
    T* __restrict v_row = v + row * block.stride;
    T by_lane[lanes] = {};
    for_each_part(
        block.first, block.last, size, [&](int first, auto count) __attribute__((always_inline)) {
#pragma omp simd
          for (int i = 0; i < count; ++i) {
            const int o = first + i;
            const T saved = s_row[o];
            const T u = dy_row[o] * filters.gradient(o, saved);
            const T product = u * filters.cosine(saved);
            v_row[o] = u * (narrow ? inverses[owner[o]] : inverse);
            if (narrow) {
              products[o] = product;
            } else {
              by_lane[i] += product;
            }
            radial[o] += product;
            if (with_dk) dk[o] += dy_row[o] * filters.curvature_gradient(o, saved);
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

// Goes through `count` positions from `first` on by calls of pass(whether narrow, size of parts, index of the first
// number, index of the first inverse norm, block). A row that is no whole number of vectors is one part; so are the
// last positions where they do not fill a row.
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
void forward_with(T* s, T* y, const T* inv_patch_norm, const SphereRows& rows, const SphereFilters<T>& of) {
  const Filters filters{of.block};
  const T* bias = of.bias;
  in_shares(rows.positions, rows.positions * rows.filters > sphere_threshold, [=](Range range) {
    for_each_block(range, [&](std::int64_t first, std::int64_t count) {
      for_each_pass(rows, first, count,
                    [&](auto narrow, auto size, std::int64_t number, std::int64_t owner, const Block& block) {
                      forward_block<T, Filters, narrow != 0>(s + number, y + number, inv_patch_norm + owner, bias,
                                                             filters, block, size);
                    });
    });
  });
}

template <typename T>
void forward(Angular angular, T* s, T* y, const T* inv_patch_norm, const SphereRows& rows,
             const SphereFilters<T>& filters) {
  math::by_angular<T>(angular, [&](auto type) {
    using G = typename decltype(type)::type;
    forward_with<T, math::FilterAngular<G, T>>(s, y, inv_patch_norm, rows, filters);
  });
}

template <typename T, typename Filters, bool with_dk, bool with_dbias>
void backward_with(const T* dy, const T* s, const T* inv_patch_norm, T* v, T* r, const SphereRows& rows,
                   const SphereFilters<T>& of, const SphereSums<T>& sums) {
  const Filters filters{of.block};
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
                      backward_block<T, Filters, with_dk, with_dbias, narrow != 0>(dy + number, s + number,
                                                                                   inv_patch_norm + owner, v + number,
                                                                                   r + owner, by_column, filters, block,
                                                                                   size);
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

template <typename T>
void backward(Angular angular, const T* dy, const T* s, const T* inv_patch_norm, T* v, T* r, const SphereRows& rows,
              const SphereFilters<T>& filters, const SphereSums<T>& sums) {
  math::by_angular<T>(angular, [&](auto type) {
    using G = typename decltype(type)::type;
    using Filters = math::FilterAngular<G, T>;
    auto* run = sums.dbias ? backward_with<T, Filters, false, true> : backward_with<T, Filters, false, false>;
    if constexpr (G::parameters > 0) {
      if (sums.dk) run = sums.dbias ? backward_with<T, Filters, true, true> : backward_with<T, Filters, true, false>;
    }
    run(dy, s, inv_patch_norm, v, r, rows, filters, sums);
  });
}

}  // namespace

template <typename T>
SphereKernels<T> make_sphere_kernels() {
  return {forward<T>, backward<T>};
}

template SphereKernels<float> make_sphere_kernels();
template SphereKernels<double> make_sphere_kernels();

}  // namespace sn::cpu::SN_ISA

// The vector loops, compiled for the x86-64 baseline, AVX2 and AVX-512 from the same sources and chosen when the
// backend is made: the binary travels. Everything in this folder lives in a namespace per instruction set and
// calls no inline function of the standard library, so that the linker cannot merge copies that some processors
// lack. Each table holds plain functions that are parallel inside (OpenMP, static schedule: results depend on the
// number of threads, never on timing).
#pragma once

#include <cstdint>

#include "core/backend.h"

namespace sn::cpu {

// The window of a convolution over maps with one number a pixel and group.
struct Box {
  Window window;
  int in_h, in_w, out_h, out_w, groups;
};

// What differs from filter to filter in the epilogue; one entry each.
template <typename T>
struct SphereFilters {
  const T* half_inverse_k;
  const T* c;
  const T* dc_dk;
  const T* bias;
};

// Per-filter sums over positions, in float64. dk and dbias are null where they are not wanted. `block` and `thread` are
// room for 3 * filters numbers a thread; threads are added in their order, so that sums do not depend on timing.
template <typename T>
struct SphereSums {
  double* radial;  // sum(u s)
  double* dk;      // sum(dy dg/dk)
  double* dbias;   // sum(dy)
  T* block;
  double* thread;
};

template <typename T>
struct SphereLoops {
  // squares[pixel, group] = sum of x^2 over the channels of the group
  void (*pixel_squares)(const T* x, T* squares, std::int64_t pixels, int channels, int groups);

  // Sum over the window of one number a pixel and group, and its transpose; both overwrite `out`.
  void (*box_sum)(const T* in, T* out, std::int64_t images, const Box&);
  void (*box_sum_transposed)(const T* in, T* out, std::int64_t images, const Box&);

  // values = 1 / sqrt(values), guarded
  void (*inverse_norms)(T* values, std::int64_t count, T eps, bool add);

  // In: cosine holds dot = conv(x, w/|w|). Out: cosine and y = g + bias. The last three have one entry a filter.
  void (*forward)(Angular, T* cosine, T* y, const T* inv_patch_norm, std::int64_t positions, int filters, int groups,
                  const SphereFilters<T>&);

  // One pass over dy and cosine: v = u/|p|, r[position, group] = sum_o(u s)/|p|^2; `sums` grows by the per-filter
  // sums of this call.
  void (*backward)(Angular, const T* dy, const T* cosine, const T* inv_patch_norm, T* v, T* r, std::int64_t positions,
                   int filters, int groups, const SphereFilters<T>&, const SphereSums<T>& sums);

  // dx -= x * weight, the weight one number a pixel and group
  void (*subtract_radial)(T* dx, const T* x, const T* weight, std::int64_t pixels, int channels, int groups);
};

// Pooling: what a dense window (no dilation) runs over.
struct PoolExtents {
  std::int64_t images, channels;
  int height, width, output_height, output_width;
  Window window;
};

// Index holds a position inside the window.
template <typename T, typename Index>
struct MaxPoolLoops {
  // index may be null
  void (*forward)(const T* x, T* y, Index* index, const PoolExtents&);
  void (*backward)(const T* dy, const Index* index, T* dx, const PoolExtents&);
};

template <typename T>
struct PoolLoops {
  MaxPoolLoops<T, std::uint8_t> max;
  MaxPoolLoops<T, std::int32_t> max_wide;  // windows of more than 256 positions
  void (*average_forward)(const T* x, T* y, bool count_padding, const PoolExtents&);
  void (*average_backward)(const T* dy, T* dx, bool count_padding, const PoolExtents&);
};

template <typename T>
struct ElementLoops {
  void (*relu)(const T* x, T* y, std::int64_t count);
  void (*relu_backward)(const T* y, const T* dy, T* dx, std::int64_t count);
  void (*add)(const T* a, const T* b, T* out, std::int64_t count);
  void (*scale)(const T* x, T factor, T* out, std::int64_t count);
  void (*dropout)(const T* x, T* y, double probability, std::uint64_t seed, std::int64_t count);
  double (*sum)(const T* x, std::int64_t count);
  double (*sum_of_squares)(const T* x, std::int64_t count);
  PoolLoops<T> pool;
};

// Rows of `width` columns, each with its own coefficients: the channels, or few channels several times over so that
// a row fills vectors (cpu/columns.h). The sums take a workspace of 2 * width doubles a thread and leave their two
// results in its first 2 * width.
template <typename T>
struct BatchNormLoops {
  // Per column the mean, then the sum of squared differences from it.
  void (*moments)(const T* x, double* workspace, std::int64_t rows, std::int64_t width);
  // y = (x - mean) scale + shift, then max(0, y) where `relu`.
  void (*normalize)(const T* x, const T* mean, const T* scale, const T* shift, T* y, bool relu, std::int64_t rows,
                    std::int64_t width);
  // Per column the sum of g, then of g (x - mean); g is dy, or zero where y <= 0. y may be null.
  void (*gradient_sums)(const T* x, const T* y, const T* dy, const T* mean, double* workspace, std::int64_t rows,
                        std::int64_t width);
  // dx = a g + b (x - mean) + c
  void (*gradient)(const T* x, const T* y, const T* dy, const T* mean, const T* a, const T* b, const T* c, T* dx,
                   std::int64_t rows, std::int64_t width);
};

template <typename T>
struct OptimizerLoops {
  void (*adam)(T* parameter, const T* gradient, T* first_moment, T* second_moment, const AdamOptions&,
               std::int64_t count);
  // velocity is null without momentum
  void (*sgd)(T* parameter, const T* gradient, T* velocity, const SgdOptions&, std::int64_t count);
};

template <typename T>
struct Table {
  SphereLoops<T> sphere;
  ElementLoops<T> element;
  BatchNormLoops<T> batch_norm;
  OptimizerLoops<T> optimizer;
};

struct Loops {
  const char* isa;
  Table<float> f32;
  Table<double> f64;

  template <typename T>
  const Table<T>& of() const {
    if constexpr (sizeof(T) == sizeof(float)) {
      return f32;
    } else {
      return f64;
    }
  }
};

namespace isa_baseline { const Loops& loops(); }
namespace isa_avx2 { const Loops& loops(); }
namespace isa_avx512 { const Loops& loops(); }

// The widest set this processor has; SPHERENET_ISA=baseline|avx2|avx512 asks for a narrower one.
const Loops& best_loops();

}  // namespace sn::cpu

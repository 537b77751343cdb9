// The vector kernels: compiled for the x86-64 baseline, AVX2 and AVX-512 from the same sources, and chosen when the
// backend is made, so that one binary runs on every processor. Each instruction set has a namespace of its own, and
// nothing in this folder calls an inline function of the standard library: the linker would keep one copy of it for
// all, perhaps one that the processor cannot run. The tables hold plain functions that are parallel inside (OpenMP with
// a static schedule: results depend on the number of threads, never on timing).
#pragma once

#include <cstdint>

#include "core/backend.h"
#include "math/angular.h"

namespace sn::cpu {

// The window of a convolution over maps with one number a pixel and group.
struct Box {
  Window window;
  int in_h, in_w, out_h, out_w, groups;
};

// Positions of the output with the filters of all groups. Where the filters of a group fill no whole vectors, a row of
// the kernels is `copies` positions side by side, and what differs from filter to filter is there once a copy.
// owner[column] is the place of the column's inverse patch norm in its row: one for each position and group.
struct SphereRows {
  std::int64_t positions;
  int filters, groups, copies;
  const int* owner;
};

// What differs from filter to filter: the constants of its g and its bias.
template <typename T>
struct SphereFilters {
  math::FilterBlock<T> block;
  const T* bias;
};

constexpr int block_gap = 32;  // keeps threads off each other's cache lines

// Per-filter sums over positions, in float64. dk and dbias are null where they are not wanted. `block` is workspace for
// 4 rows and block_gap numbers a thread, `thread` for 3 rows a thread; threads are added in their order, so that sums
// do not depend on timing.
template <typename T>
struct SphereSums {
  double* radial;  // sum(u s)
  double* dk;      // sum(dy dg/dk)
  double* dbias;   // sum(dy)
  T* block;
  double* thread;
};

template <typename T>
struct SphereKernels {
  // In: s holds dot = conv(x, w/|w|). Out: s as backward needs it (math/angular.h) and y = g + bias.
  void (*forward)(Angular, T* s, T* y, const T* inv_patch_norm, const SphereRows&, const SphereFilters<T>&);

  // One pass over dy and the saved s: v = u/|p|, r[position, group] = sum_o(u s)/|p|^2; `sums` grows by the per-filter
  // sums of this call.
  void (*backward)(Angular, const T* dy, const T* s, const T* inv_patch_norm, T* v, T* r, const SphereRows&,
                   const SphereFilters<T>&, const SphereSums<T>& sums);
};

// The norms of patches, and the way back through them.
template <typename T>
struct NormKernels {
  // squares[pixel, group] = sum of x^2 over the channels of the group
  void (*pixel_squares)(const T* x, T* squares, std::int64_t pixels, int channels, int groups);

  // Sum over the window of one number a pixel and group, and its transpose; both overwrite `out`.
  void (*box_sum)(const T* in, T* out, std::int64_t images, const Box&);
  void (*box_sum_transposed)(const T* in, T* out, std::int64_t images, const Box&);

  // values = 1 / sqrt(values), guarded. Whether all values were below infinity.
  bool (*inverse_norms)(T* values, std::int64_t count, T eps, bool add);

  // has[image]: whether one of its tiles of 4x4 windows has an inverse norm above `ratio` times another one that is not
  // 0. For one group.
  void (*find_uneven_tiles)(const T* inverse_norms, bool* has, std::int64_t images, int height, int width, T ratio);

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
struct MaxPoolKernels {
  // index may be null
  void (*forward)(const T* x, T* y, Index* index, const PoolExtents&);
  void (*backward)(const T* dy, const Index* index, T* dx, const PoolExtents&);
};

template <typename T>
struct PoolKernels {
  MaxPoolKernels<T, std::uint8_t> max;
  MaxPoolKernels<T, std::int32_t> max_wide;  // windows of more than 256 positions
  void (*average_forward)(const T* x, T* y, bool count_padding, const PoolExtents&);
  void (*average_backward)(const T* dy, T* dx, bool count_padding, const PoolExtents&);
};

template <typename T>
struct ElementKernels {
  void (*relu)(const T* x, T* y, std::int64_t count);
  void (*relu_backward)(const T* y, const T* dy, T* dx, std::int64_t count);
  void (*add)(const T* a, const T* b, T* out, std::int64_t count);
  void (*scale)(const T* x, T factor, T* out, std::int64_t count);
  void (*dropout)(const T* x, T* y, double probability, std::uint64_t seed, std::int64_t count);
  double (*sum)(const T* x, std::int64_t count);
  double (*sum_of_squares)(const T* x, std::int64_t count);
  PoolKernels<T> pool;
};

// Of each column: y = (x - mean) scale + shift, then max(0, y) where `relu`.
template <typename T>
struct ChannelNormalization {
  const T* mean;
  const T* scale;
  const T* shift;
  bool relu;
};

// Rows of `width` columns, each with its own coefficients: the channels, or few channels several times over so that
// a row fills vectors (cpu/channel_pack.h). `residual` is null or like x. The sums take a workspace of 2 * width
// doubles a thread and leave their two results in its first 2 * width.
template <typename T>
struct BatchNormKernels {
  // Per column the mean, then the sum of squared differences from it.
  void (*moments)(const T* x, double* workspace, std::int64_t rows, std::int64_t width);
  // The residual is added before the ReLU. y may be x.
  void (*normalize)(const T* x, const ChannelNormalization<T>&, const T* residual, T* y, std::int64_t rows,
                    std::int64_t width);
  // Per column the sum of g, then of g (x - mean); g is dy, or zero where the ReLU was closed.
  void (*gradient_sums)(const T* x, const ChannelNormalization<T>&, const T* residual, const T* dy, double* workspace,
                        std::int64_t rows, std::int64_t width);
  // dx = scale g + slope (x - mean) + offset; dresidual = g, unless it is null
  void (*gradient)(const T* x, const ChannelNormalization<T>&, const T* residual, const T* dy, const T* slope,
                   const T* offset, T* dx, T* dresidual, std::int64_t rows, std::int64_t width);
};

// A parameter and what goes with it, `count` elements each.
template <typename T>
struct AdamParameter {
  T* parameter;
  const T* gradient;
  T *first_moment, *second_moment;
  std::int64_t count;
};

template <typename T>
struct OptimizerKernels {
  void (*adam)(const AdamParameter<T>* parameters, std::size_t how_many, const AdamOptions&);
  // velocity is null without momentum
  void (*sgd)(T* parameter, const T* gradient, T* velocity, const SgdOptions&, std::int64_t count);
};

template <typename T>
struct Table {
  SphereKernels<T> sphere;
  NormKernels<T> norms;
  ElementKernels<T> element;
  BatchNormKernels<T> batch_norm;
  OptimizerKernels<T> optimizer;
};

// A 3x3 convolution of stride 1 as Winograd's algorithm runs it, or the gradient of its input, which is one too.
struct WinogradExtents {
  std::int64_t images;
  int in_h, in_w, channels, out_h, out_w, filters, padding_h, padding_w;
};

constexpr int winograd_planes = 36;  // numbers of a tile, a filter or a product after its transform
constexpr int winograd_panel = 16;   // outputs side by side in memory
constexpr int winograd_panels(int outputs) { return (outputs + winograd_panel - 1) / winograd_panel; }

struct WinogradKernels {
  // Transforms O x 3 x 3 x I for `forward`: winograd_planes * inputs * winograd_panels(outputs) * winograd_panel
  // numbers. Inputs are channels and outputs are filters; with `back`, for the gradient of the input, the other way
  // round.
  void (*transform_filters)(const float* w, float* packed, int filters, int channels, bool back);

  // The numbers that `workspace` must have, for the threads there are.
  std::int64_t (*forward_workspace)(const WinogradExtents&);
  void (*forward)(const float* x, const float* packed, const float* bias, float* y, const WinogradExtents&,
                  float* workspace);

  std::int64_t (*backward_weights_workspace)(const WinogradExtents&);
  void (*backward_weights)(const float* x, const float* dy, float* dw, const WinogradExtents&, float* workspace);
};

struct Kernels {
  const char* isa;
  WinogradKernels winograd;
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

namespace isa_baseline {
const Kernels& kernels();
}
namespace isa_avx2 {
const Kernels& kernels();
}
namespace isa_avx512 {
const Kernels& kernels();
}

// Those of every set this processor has, the widest last.
std::vector<const Kernels*> usable_kernels();

// The widest set this processor has; SPHERENET_ISA=baseline|avx2|avx512 asks for a narrower one.
const Kernels& best_kernels();

}  // namespace sn::cpu

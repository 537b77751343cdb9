// The vector loops, compiled for the x86-64 baseline, AVX2 and AVX-512 from the same sources and chosen when the
// backend is made: the binary travels. Everything in this folder lives in a namespace per instruction set and
// calls no inline function of the standard library, so that the linker cannot merge copies that some processors
// lack. Each table holds plain functions that are parallel inside (OpenMP, static schedule: results depend on the
// number of threads, never on timing).
#pragma once

#include <cstdint>

#include "core/backend.h"
#include "math/filters.h"

namespace sn::cpu {

// The window of a convolution over maps with one number a pixel and group.
struct Box {
  Window window;
  int in_h, in_w, out_h, out_w, groups;
};

// Where the filters of a group fill no whole vectors, `copies` positions side by side make a row that does; the
// parameters of the filters then are there for every copy. `owner` of a column is the index within the row of its
// position and group.
struct SphereRows {
  std::int64_t positions;
  int filters, groups, copies;
  const int* owner;
};

constexpr int block_gap = 32;  // keeps threads off each other's cache lines

// Per-filter sums over positions, in float64. dk and dbias are null where they are not wanted. `block` is
// workspace for 4 rows and block_gap numbers a thread, `thread` for 3 rows a thread; threads are added in their order, so
// that sums do not depend on timing.
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
  // squares[pixel, group] = sum of x^2 over the channels of the group
  void (*pixel_squares)(const T* x, T* squares, std::int64_t pixels, int channels, int groups);

  // Sum over the window of one number a pixel and group, and its transpose; both overwrite `out`.
  void (*box_sum)(const T* in, T* out, std::int64_t images, const Box&);
  void (*box_sum_transposed)(const T* in, T* out, std::int64_t images, const Box&);

  // values = 1 / sqrt(values), guarded
  void (*inverse_norms)(T* values, std::int64_t count, T eps, bool add);

  // In: kept holds dot = conv(x, w/|w|). Out: what backward needs of s (math/filters.h) and y = g + bias.
  void (*forward)(Angular, T* kept, T* y, const T* inv_patch_norm, const SphereRows&, const SphereFilters<T>&);

  // One pass over dy and kept: v = u/|p|, r[position, group] = sum_o(u s)/|p|^2; `sums` grows by the per-filter
  // sums of this call.
  void (*backward)(Angular, const T* dy, const T* kept, const T* inv_patch_norm, T* v, T* r, const SphereRows&,
                   const SphereFilters<T>&, const SphereSums<T>& sums);

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
// a row fills vectors (cpu/channel_pack.h). The sums take a workspace of 2 * width doubles a thread and leave their two
// results in its first 2 * width.
template <typename T>
struct BatchNormKernels {
  // Per column the mean, then the sum of squared differences from it.
  void (*moments)(const T* x, double* workspace, std::int64_t rows, std::int64_t width);
  // y may be x
  void (*normalize)(const T* x, const ChannelNormalization<T>&, T* y, std::int64_t rows, std::int64_t width);
  // Per column the sum of g, then of g (x - mean); g is dy, or zero where the ReLU was closed.
  void (*gradient_sums)(const T* x, const ChannelNormalization<T>&, const T* dy, double* workspace, std::int64_t rows,
                        std::int64_t width);
  // dx = scale g + slope (x - mean) + offset
  void (*gradient)(const T* x, const ChannelNormalization<T>&, const T* dy, const T* slope, const T* offset, T* dx,
                   std::int64_t rows, std::int64_t width);
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
  ElementKernels<T> element;
  BatchNormKernels<T> batch_norm;
  OptimizerKernels<T> optimizer;
};

// A 3x3 convolution of stride 1 as Winograd's algorithm runs it, or the gradient of its input, which is one too.
struct WinogradExtents {
  std::int64_t images;
  int in_h, in_w, channels, out_h, out_w, filters, padding_h, padding_w;
};

constexpr int winograd_planes = 36;  // numbers that stand for a tile of an image, for a filter and a tile of products
constexpr int winograd_panel = 16;  // outputs that lie together
constexpr int winograd_panels(int outputs) { return (outputs + winograd_panel - 1) / winograd_panel; }

struct WinogradKernels {
  // Packs O x 3 x 3 x I for `forward`: winograd_planes * inputs * winograd_panels(outputs) * winograd_panel numbers.
  // Inputs are channels and outputs filters, unless they go back, from the output's gradient to the input's.
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

namespace isa_baseline { const Kernels& kernels(); }
namespace isa_avx2 { const Kernels& kernels(); }
namespace isa_avx512 { const Kernels& kernels(); }

// Those of every set this processor has, the widest last.
std::vector<const Kernels*> usable_kernels();

// The widest set this processor has; SPHERENET_ISA=baseline|avx2|avx512 asks for a narrower one.
const Kernels& best_kernels();

}  // namespace sn::cpu

// What SphereConv adds to a convolution: patch norms by box sums, g on the way out, u/|p| and the reductions on the
// way back. Bytes, in passes over the output y: forward reads dot and writes s and y; backward reads dy and s and
// writes v. Over the input x: one read for the norms, one read-modify-write of dx. Nothing of patch size.
#include <omp.h>

#include "cpu/loops/make.h"

namespace sn::cpu {
namespace SN_ISA {
namespace {

// Positions whose per-filter sums stay in T before they go to float64.
constexpr std::int64_t block_positions = 128;
constexpr std::int64_t parallel_threshold = 16384;

template <typename T>
void pixel_squares(const T* x, T* squares, std::int64_t pixels, int channels, int groups) {
  const std::int64_t rows = pixels * groups;
  const int width = channels / groups;
#pragma omp parallel for schedule(static) if (pixels * channels > parallel_threshold)
  for (std::int64_t row = 0; row < rows; ++row) {
    const T* values = x + row * width;
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int c = 0; c < width; ++c) sum += values[c] * values[c];
    squares[row] = sum;
  }
}

// The outputs [first, last) along one axis whose tap at `offset` (kernel index * dilation - padding) falls inside.
struct Range {
  int first, last;
};
inline Range covered(int offset, int stride, int in, int out) {
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
    const Range rows = covered(offset_h, w.stride_h, box.in_h, box.out_h);
    for (int kw = 0; kw < w.kernel_w; ++kw) {
      const int offset_w = kw * w.dilation_w - w.padding_w;
      const Range columns = covered(offset_w, w.stride_w, box.in_w, box.out_w);
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
#pragma omp parallel for schedule(static) if (images * pixels > parallel_threshold)
  for (std::int64_t n = 0; n < images; ++n) {
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
}

template <typename T>
void inverse_norms(T* values, std::int64_t count, T eps, bool add) {
#pragma omp parallel for simd schedule(static) if (parallel : count > parallel_threshold)
  for (std::int64_t i = 0; i < count; ++i) values[i] = math::guarded_inverse_norm(values[i], eps, add);
}

// The operators, filter by filter: the loops below exist once and are instantiated for each. Everything goes by
// scalars, see math::angle_of.
template <typename T>
struct LinearFilters {
  explicit LinearFilters(const SphereFilters<T>&) {}
  SN_HD_MEMBER T value(int, T s) const { return math::Linear<T>().value(math::angle_of(s).a); }
  SN_HD_MEMBER T gradient(int, T s) const { return math::Linear<T>().gradient(T(0), math::angle_of(s).sine); }
  SN_HD_MEMBER T curvature_gradient(int, T) const { return T(0); }
};

template <typename T>
struct CosineFilters {
  explicit CosineFilters(const SphereFilters<T>&) {}
  SN_HD_MEMBER T value(int, T s) const { return s; }
  SN_HD_MEMBER T gradient(int, T) const { return T(1); }
  SN_HD_MEMBER T curvature_gradient(int, T) const { return T(0); }
};

template <typename T>
struct SigmoidFilters {
  explicit SigmoidFilters(const SphereFilters<T>& filters)
      : half_inverse_k(filters.half_inverse_k), c(filters.c), dc_dk(filters.dc_dk) {}
  SN_HD_MEMBER T value(int o, T s) const {
    return math::Sigmoid<T>{half_inverse_k[o], c[o], dc_dk[o]}.value(math::angle_of(s).a);
  }
  SN_HD_MEMBER T gradient(int o, T s) const {
    const auto angle = math::angle_of(s);
    return math::Sigmoid<T>{half_inverse_k[o], c[o], dc_dk[o]}.gradient(angle.a, angle.sine);
  }
  SN_HD_MEMBER T curvature_gradient(int o, T s) const {
    return math::Sigmoid<T>{half_inverse_k[o], c[o], dc_dk[o]}.curvature_gradient(math::angle_of(s).a);
  }
  const T* half_inverse_k;
  const T* c;
  const T* dc_dk;
};

// A block of positions: rows of `filters` outputs, of which [first, last) belong to one group, and one inverse norm a
// position, `groups` apart. Functions of their own with restrict pointers: inlined into an OpenMP region, GCC 12
// leaves their loops scalar.
struct Block {
  std::int64_t positions;
  int filters, groups, first, last;
};

template <typename T, typename Filters>
__attribute__((noinline)) void forward_block(T* __restrict cosine, T* __restrict y, const T* __restrict inv_patch_norm,
                                           const T* __restrict bias, const Filters filters, const Block block) {
  for (std::int64_t position = 0; position < block.positions; ++position) {
    const T inverse = inv_patch_norm[position * block.groups];
    T* __restrict cosine_row = cosine + position * block.filters;
    T* __restrict y_row = y + position * block.filters;
#pragma omp simd
    for (int o = block.first; o < block.last; ++o) {
      const T s = math::clamp_cosine(cosine_row[o] * inverse);
      cosine_row[o] = s;
      y_row[o] = filters.value(o, s) + bias[o];
    }
  }
}

template <typename T, typename Filters, bool with_dk, bool with_dbias>
__attribute__((noinline)) void backward_block(const T* __restrict dy, const T* __restrict cosine,
                                            const T* __restrict inv_patch_norm, T* __restrict v, T* __restrict r,
                                            T* __restrict radial, T* __restrict dk, T* __restrict dbias,
                                            const Filters filters, const Block block) {
  for (std::int64_t position = 0; position < block.positions; ++position) {
    const T inverse = inv_patch_norm[position * block.groups];
    const T* __restrict dy_row = dy + position * block.filters;
    const T* __restrict cosine_row = cosine + position * block.filters;
    T* __restrict v_row = v + position * block.filters;
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int o = block.first; o < block.last; ++o) {
      const T s = cosine_row[o];
      const T u = dy_row[o] * filters.gradient(o, s);
      v_row[o] = u * inverse;
      sum += u * s;
      radial[o] += u * s;
      if (with_dk) dk[o] += dy_row[o] * filters.curvature_gradient(o, s);
      if (with_dbias) dbias[o] += dy_row[o];
    }
    r[position * block.groups] = sum * inverse * inverse;
  }
}

template <typename T, typename Filters>
void forward_with(T* cosine, T* y, const T* inv_patch_norm, std::int64_t positions, int filters, int groups,
                  const SphereFilters<T>& parameters) {
  const Filters per_filter(parameters);
  const int width = filters / groups;
  const std::int64_t blocks = (positions + block_positions - 1) / block_positions;
#pragma omp parallel for schedule(static) if (positions * filters > parallel_threshold)
  for (std::int64_t block = 0; block < blocks; ++block) {
    const std::int64_t first = block * block_positions;
    const std::int64_t count = positions - first < block_positions ? positions - first : block_positions;
    for (int group = 0; group < groups; ++group) {
      forward_block<T, Filters>(cosine + first * filters, y + first * filters, inv_patch_norm + first * groups + group,
                              parameters.bias, per_filter, {count, filters, groups, group * width, (group + 1) * width});
    }
  }
}

template <typename T>
void forward(Angular angular, T* cosine, T* y, const T* inv_patch_norm, std::int64_t positions, int filters, int groups,
             const SphereFilters<T>& parameters) {
  switch (angular) {
    case Angular::linear:
      return forward_with<T, LinearFilters<T>>(cosine, y, inv_patch_norm, positions, filters, groups, parameters);
    case Angular::cosine:
      return forward_with<T, CosineFilters<T>>(cosine, y, inv_patch_norm, positions, filters, groups, parameters);
    case Angular::sigmoid:
      return forward_with<T, SigmoidFilters<T>>(cosine, y, inv_patch_norm, positions, filters, groups, parameters);
  }
}

template <typename T, typename Filters, bool with_dk, bool with_dbias>
void backward_rows(const T* dy, const T* cosine, const T* inv_patch_norm, T* v, T* r, std::int64_t positions,
                   int filters, int groups, const SphereFilters<T>& parameters, const SphereSums<T>& sums) {
  const Filters per_filter(parameters);
  const int width = filters / groups;
  const std::int64_t blocks = (positions + block_positions - 1) / block_positions;
  const std::int64_t all_sums = static_cast<std::int64_t>(filters) * 3;
  int threads = 1;
#pragma omp parallel if (positions * filters > parallel_threshold)
  {
    T* radial = sums.block + omp_get_thread_num() * all_sums;
    T* dk = radial + filters;
    T* dbias = dk + filters;
    double* total = sums.thread + omp_get_thread_num() * all_sums;
    for (int i = 0; i < all_sums; ++i) total[i] = 0;
#pragma omp single
    threads = omp_get_num_threads();
#pragma omp for schedule(static)
    for (std::int64_t block = 0; block < blocks; ++block) {
      for (int i = 0; i < all_sums; ++i) radial[i] = 0;
      const std::int64_t first = block * block_positions;
      const std::int64_t count = positions - first < block_positions ? positions - first : block_positions;
      for (int group = 0; group < groups; ++group) {
        const std::int64_t offset = first * groups + group;
        backward_block<T, Filters, with_dk, with_dbias>(dy + first * filters, cosine + first * filters,
                                                      inv_patch_norm + offset, v + first * filters, r + offset, radial,
                                                      dk, dbias, per_filter,
                                                      {count, filters, groups, group * width, (group + 1) * width});
      }
      for (int i = 0; i < all_sums; ++i) total[i] += radial[i];
    }
  }
  for (int t = 0; t < threads; ++t) {
    const double* total = sums.thread + t * all_sums;
    for (int o = 0; o < filters; ++o) {
      sums.radial[o] += total[o];
      if (with_dk) sums.dk[o] += total[filters + o];
      if (with_dbias) sums.dbias[o] += total[2 * filters + o];
    }
  }
}

template <typename T, typename Filters, bool with_dk>
void backward_with(const T* dy, const T* cosine, const T* inv_patch_norm, T* v, T* r, std::int64_t positions,
                   int filters, int groups, const SphereFilters<T>& parameters, const SphereSums<T>& sums) {
  if (sums.dbias) {
    backward_rows<T, Filters, with_dk, true>(dy, cosine, inv_patch_norm, v, r, positions, filters, groups, parameters, sums);
  } else {
    backward_rows<T, Filters, with_dk, false>(dy, cosine, inv_patch_norm, v, r, positions, filters, groups, parameters, sums);
  }
}

template <typename T>
void backward(Angular angular, const T* dy, const T* cosine, const T* inv_patch_norm, T* v, T* r,
              std::int64_t positions, int filters, int groups, const SphereFilters<T>& parameters,
              const SphereSums<T>& sums) {
  switch (angular) {
    case Angular::linear:
      return backward_with<T, LinearFilters<T>, false>(dy, cosine, inv_patch_norm, v, r, positions, filters, groups, parameters, sums);
    case Angular::cosine:
      return backward_with<T, CosineFilters<T>, false>(dy, cosine, inv_patch_norm, v, r, positions, filters, groups, parameters, sums);
    case Angular::sigmoid:
      if (sums.dk) {
        return backward_with<T, SigmoidFilters<T>, true>(dy, cosine, inv_patch_norm, v, r, positions, filters, groups, parameters, sums);
      }
      return backward_with<T, SigmoidFilters<T>, false>(dy, cosine, inv_patch_norm, v, r, positions, filters, groups, parameters, sums);
  }
}

template <typename T>
void subtract_radial(T* dx, const T* x, const T* weight, std::int64_t pixels, int channels, int groups) {
  const int width = channels / groups;
  const std::int64_t rows = pixels * groups;
#pragma omp parallel for schedule(static) if (pixels * channels > parallel_threshold)
  for (std::int64_t row = 0; row < rows; ++row) {
    const T factor = weight[row];
    T* out = dx + row * width;
    const T* in = x + row * width;
#pragma omp simd
    for (int c = 0; c < width; ++c) out[c] -= in[c] * factor;
  }
}

}  // namespace

template <typename T>
SphereLoops<T> make_sphere_loops() {
  return {pixel_squares<T>, box_sum<T, false>, box_sum<T, true>, inverse_norms<T>,
          forward<T>,       backward<T>,       subtract_radial<T>};
}
template SphereLoops<float> make_sphere_loops<float>();
template SphereLoops<double> make_sphere_loops<double>();

}  // namespace SN_ISA
}  // namespace sn::cpu

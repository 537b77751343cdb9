#include "cuda/convolution/patches.h"

#include "cuda/elements.h"
#include "math/norms.h"

namespace sn::cuda {
namespace {

constexpr int warps_per_block = 8;

// A warp makes one patch of one group. Reads each pixel once for every tap that sees it (from L1 and L2, once from
// memory), writes the patch once: the tile's size, which stays in L2.
template <typename Operand, int pack>
__global__ void __launch_bounds__(warps_per_block* warp_size)
    patch_kernel(const typename Operand::Value* x, const PatchShape shape, const WindowRange range,
                 typename Operand::Element* patches, typename Operand::Value* inverse_norms,
                 const typename Operand::Value eps, const bool add_eps) {
  using T = typename Operand::Value;
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * warps_per_block + warp_id();
  if (row >= range.count * shape.groups) return;  // the whole warp
  const std::int64_t local = row / shape.groups;
  const int group = static_cast<int>(row % shape.groups);
  const std::int64_t window = range.first + local;
  const auto position = static_cast<unsigned>(window % shape.windows_per_image());
  const Window& w = shape.window;
  const int top = static_cast<int>(position / static_cast<unsigned>(shape.out_w)) * w.stride_h - w.padding_h;
  const int left = static_cast<int>(position % static_cast<unsigned>(shape.out_w)) * w.stride_w - w.padding_w;
  const T* image =
      x + window / shape.windows_per_image() * shape.in_h * shape.in_w * shape.channels + group * shape.width;
  const std::int64_t patch = (group * range.count + local) * shape.padded;

  T squares = 0;
  for (int k = lane_id() * pack; k < shape.padded; k += warp_size * pack) {
    const auto tap = static_cast<unsigned>(k) / static_cast<unsigned>(shape.width);
    const int channel = k - static_cast<int>(tap) * shape.width;
    const int row_in = top + static_cast<int>(tap / static_cast<unsigned>(w.kernel_w)) * w.dilation_h;
    const int column_in = left + static_cast<int>(tap % static_cast<unsigned>(w.kernel_w)) * w.dilation_w;
    const bool inside =
        k < shape.size && row_in >= 0 && row_in < shape.in_h && column_in >= 0 && column_in < shape.in_w;
    Pack<T, pack> values{};
    if (inside) {
      const std::int64_t pixel = static_cast<std::int64_t>(row_in) * shape.in_w + column_in;
      values = *reinterpret_cast<const Pack<T, pack>*>(image + pixel * shape.channels + channel);
    }
    Pack<typename Operand::Element, pack> elements;
    for (int i = 0; i < pack; ++i) {
      elements.values[i] = Operand::element(values.values[i]);
      const T seen = Operand::value(elements.values[i]);
      squares += seen * seen;
    }
    if (patches != nullptr) *reinterpret_cast<Pack<typename Operand::Element, pack>*>(patches + patch + k) = elements;
  }
  if (inverse_norms == nullptr) return;
  squares = warp_sum(squares);
  if (lane_id() == 0) inverse_norms[window * shape.groups + group] = math::guarded_inverse_norm(squares, eps, add_eps);
}

// Reads the tile's patch gradients once (from L2), radial from L1, x once, writes dx once: with x, 2 passes over the
// input.
template <typename T, int pack>
struct GatherPatches {
  const T* gradients;
  const T* radial;
  const T* x;
  T* dx;
  PatchShape shape;
  Tile tile;

  __device__ void operator()(std::int64_t i) const {
    const int packs = shape.channels / pack;
    const int channel = static_cast<int>(i % packs) * pack;
    const std::int64_t pixel = i / packs;
    const int column = static_cast<int>(pixel % shape.in_w);
    const int row = tile.input.first_row + static_cast<int>(pixel / shape.in_w % tile.input.rows);
    const std::int64_t image = tile.input.first_image + pixel / shape.in_w / tile.input.rows;
    const int group = channel / shape.width;
    const Window& w = shape.window;
    const std::int64_t first_window = image * shape.windows_per_image();

    Pack<T, pack> sum{};
    T radial_sum = 0;
    for (int kh = 0; kh < w.kernel_h; ++kh) {
      const int above = row + w.padding_h - kh * w.dilation_h;
      const int window_row = above / w.stride_h;
      if (above < 0 || window_row * w.stride_h != above || window_row >= shape.out_h) continue;
      for (int kw = 0; kw < w.kernel_w; ++kw) {
        const int before = column + w.padding_w - kw * w.dilation_w;
        const int window_column = before / w.stride_w;
        if (before < 0 || window_column * w.stride_w != before || window_column >= shape.out_w) continue;
        const std::int64_t window = first_window + static_cast<std::int64_t>(window_row) * shape.out_w + window_column;
        const std::int64_t local = group * tile.windows.count + window - tile.windows.first;
        const int tap = kh * w.kernel_w + kw;
        const T* from = gradients + local * shape.padded + tap * shape.width + (channel - group * shape.width);
        const auto part = *reinterpret_cast<const Pack<T, pack>*>(from);
        for (int j = 0; j < pack; ++j) sum.values[j] += part.values[j];
        if (radial != nullptr) radial_sum += radial[window * shape.groups + group];
      }
    }
    const std::int64_t target = ((image * shape.in_h + row) * shape.in_w + column) * shape.channels + channel;
    if (radial != nullptr) {
      const auto values = *reinterpret_cast<const Pack<T, pack>*>(x + target);
      for (int j = 0; j < pack; ++j) sum.values[j] -= values.values[j] * radial_sum;
    }
    *reinterpret_cast<Pack<T, pack>*>(dx + target) = sum;
  }
};

template <typename T>
bool in_packs(const PatchShape& shape) {
  return shape.width % pack_size<T> == 0;
}

}  // namespace

template <typename Operand>
void build_patches(const char* op, cudaStream_t stream, const typename Operand::Value* x, const PatchShape& shape,
                   const WindowRange& range, typename Operand::Element* patches, typename Operand::Value* inverse_norms,
                   const NormGuard& guard) {
  using T = typename Operand::Value;
  const std::int64_t rows = range.count * shape.groups;
  const Launch how{op, stream, dim3(static_cast<unsigned>(ceil_div<std::int64_t>(rows, warps_per_block))),
                   dim3(warps_per_block * warp_size)};
  const auto kernel = in_packs<T>(shape) ? patch_kernel<Operand, pack_size<T>> : patch_kernel<Operand, 1>;
  launch(how, kernel, x, shape, range, patches, inverse_norms, static_cast<T>(guard.eps), guard.add);
}

template <typename T>
void gather_patches(const char* op, cudaStream_t stream, const T* gradients, const PatchShape& shape, const Tile& tile,
                    const T* radial, const T* x, T* dx) {
  const std::int64_t elements = tile.input.images * tile.input.rows * shape.in_w * shape.channels;
  if (in_packs<T>(shape)) {
    constexpr int pack = pack_size<T>;
    for_each_element(op, stream, elements / pack, GatherPatches<T, pack>{gradients, radial, x, dx, shape, tile});
  } else {
    for_each_element(op, stream, elements, GatherPatches<T, 1>{gradients, radial, x, dx, shape, tile});
  }
}

#define SN_INSTANTIATE(Operand)                                                                             \
  template void build_patches<Operand>(const char*, cudaStream_t, const Operand::Value*, const PatchShape&, \
                                       const WindowRange&, Operand::Element*, Operand::Value*, const NormGuard&);
SN_INSTANTIATE(ExactOperand<float>)
SN_INSTANTIATE(ExactOperand<double>)
SN_INSTANTIATE(Tf32Operand)
SN_INSTANTIATE(Bf16Operand)
#undef SN_INSTANTIATE

template void gather_patches(const char*, cudaStream_t, const float*, const PatchShape&, const Tile&, const float*,
                             const float*, float*);
template void gather_patches(const char*, cudaStream_t, const double*, const PatchShape&, const Tile&, const double*,
                             const double*, double*);

}  // namespace sn::cuda

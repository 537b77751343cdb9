#include "cuda/convolution/patch_gemm.h"

#include "cuda/convolution/epilogue.h"
#include "cuda/convolution/filters.h"
#include "cuda/convolution/patches.h"
#include "cuda/convolution/products.h"
#include "cuda/elements.h"

namespace sn::cuda {
namespace {

// Reads the products of a tile (from L2), writes what the epilogue makes of them: y, and s of a SphereConv.
template <typename T, int width, typename Outputs>
struct FinishOutputs {
  const T* products;
  Outputs outputs;
  std::int64_t first_window;
  int filters;

  __device__ void operator()(std::int64_t i) const {
    const int packs = filters / width;
    const std::int64_t row = i / packs;
    const int filter = static_cast<int>(i - row * packs) * width;
    const std::int64_t window = first_window + row;
    outputs(window, filter, load<width>(products + window * filters + filter));
  }
};

// dw from products with padded rows. Reads products (and filters) once, writes dw once: 2 or 3 passes over the filters.
template <typename Operand, bool radial>
struct FinishFilterGradients {
  using T = typename Operand::Value;
  const T* products;
  const typename Operand::Element* filters;
  RadialFilterGradient<T> gradient;
  T* dw;
  int size, padded;

  __device__ void operator()(std::int64_t i) const {
    const std::int64_t o = i / size, at = o * padded + i % size;
    if constexpr (radial) {
      dw[i] = gradient(o, products[at], Operand::value(filters[at]));
    } else {
      dw[i] = products[at];
    }
  }
};

// The passes of one convolution with operands of that kind.
template <typename Operand>
class PatchConvolution {
 public:
  using T = typename Operand::Value;
  using Element = typename Operand::Element;

  PatchConvolution(CudaBackend& device, const ConvProblem& problem)
      : device_(device), problem_(problem), shape_(patch_shape(problem, sizeof(Element))),
        products_(device.gemm(), problem, shape_) {}

  void forward(const Tensor& x, const Tensor& w, const OutputEpilogue& epilogue) const {
    const FilterPack& filters = packed_filters<Operand>(device_, w, shape_.padded, guard());
    T* inverse_norms = nullptr;
    Tensor products = epilogue.y;
    if (epilogue.sphere) {
      device_.copy(filters.inverse_norms, epilogue.sphere->inv_filter_norm);
      inverse_norms = epilogue.sphere->inv_patch_norm.write<T>();
      if (epilogue.sphere->s) products = epilogue.sphere->s;
    }
    const bool is_final = !epilogue.sphere && !epilogue.bias;
    const bool pixels = is_pixelwise(problem_.geometry) && !Operand::rounded;
    T* out = products.write<T>();
    for_each_tile<Element>(forward_tiles(pixels, is_final), pixels ? 0 : row(),
                           [&](const Tile& tile, Element* patches) {
                             if (!pixels || inverse_norms != nullptr) build(x, tile, patches, inverse_norms);
                             products_.forward(tile.windows, operand(x, tile, patches), filters.data<Operand>(), out);
                             if (!is_final) finish_outputs(epilogue, out, tile.windows);
                           });
  }

  void backward_data(const Tensor& v, const Tensor& w, const Tensor& dx,
                     const std::optional<RadialInput>& radial) const {
    const FilterPack& filters = packed_filters<Operand>(device_, w, shape_.padded, guard());
    const T* r = radial ? radial->r.read<T>() : nullptr;
    const T* x = radial ? radial->x.read<T>() : nullptr;
    const std::vector<Tile> tiles = input_tiles(shape_, windows_of_tile(device_, shape_.windows(), row() * sizeof(T)));
    for_each_tile<T>(tiles, row(), [&](const Tile& tile, T* gradients) {
      if (tile.windows.count > 0) {
        products_.patch_gradients(tile.windows, v.read<Element>(), filters.data<Operand>(), gradients);
      }
      gather_patches<T>(problem_.op, device_.stream(), gradients, shape_, tile, r, x, dx.write<T>());
    });
  }

  void backward_weights(const Tensor& x, const Tensor& v, const Tensor& dw,
                        const std::optional<RadialFilters>& radial) const {
    const bool is_final = !radial && shape_.padded == shape_.size;
    const Tensor products = is_final ? dw : device_.scratch(dw.dtype, {problem_.w[0], shape_.padded});
    T* sums = products.write<T>();
    const bool pixels = is_pixelwise(problem_.geometry) && !radial;
    for_each_tile<Element>(pixels ? whole() : patch_tiles(), pixels ? 0 : row(),
                           [&](const Tile& tile, Element* patches) {
                             if (!pixels) build(x, tile, patches, nullptr);
                             products_.filter_gradients(tile.windows, v.read<Element>(), operand(x, tile, patches),
                                                        sums, tile.windows.first > 0);
                           });
    if (!is_final) finish_filter_gradients(sums, dw, radial);
  }

 private:
  NormGuard guard() const { return problem_.norms.value_or(NormGuard{}); }
  std::size_t row() const { return static_cast<std::size_t>(shape_.groups) * static_cast<std::size_t>(shape_.padded); }

  std::vector<Tile> whole() const { return window_tiles(shape_.windows(), shape_.windows()); }
  std::vector<Tile> patch_tiles() const { return tiles_of(row() * sizeof(Element)); }
  std::vector<Tile> tiles_of(std::size_t bytes_a_window) const {
    return window_tiles(shape_.windows(), windows_of_tile(device_, shape_.windows(), bytes_a_window));
  }
  // Without patches, it is what the epilogue reads that must stay in L2.
  std::vector<Tile> forward_tiles(bool pixels, bool is_final) const {
    if (!pixels) return patch_tiles();
    return is_final ? whole() : tiles_of(static_cast<std::size_t>(problem_.y.back()) * sizeof(T));
  }

  // The tile loop of every pass: step(tile, workspace) with so many elements for each window of the tile. They hold
  // patches, or the gradients of patches.
  template <typename Item, typename Step>
  void for_each_tile(const std::vector<Tile>& tiles, std::size_t items_a_window, Step&& step) const {
    std::int64_t most = 1;
    for (const Tile& tile : tiles) most = std::max(most, tile.windows.count);
    const std::size_t bytes = static_cast<std::size_t>(most) * items_a_window * sizeof(Item);
    const auto workspace = bytes > 0 ? device_.allocate(bytes) : nullptr;
    for (const Tile& tile : tiles) step(tile, workspace ? static_cast<Item*>(workspace->data()) : nullptr);
  }

  void build(const Tensor& x, const Tile& tile, Element* patches, T* inverse_norms) const {
    build_patches<Operand>(problem_.op, device_.stream(), x.read<T>(), shape_, tile.windows, patches, inverse_norms,
                           guard());
  }

  // The patches, or the pixels where there are none.
  auto operand(const Tensor& x, const Tile& tile, const Element* patches) const {
    return patches != nullptr ? products_.patches(patches, tile.windows)
                              : products_.pixels(x.read<Element>(), tile.windows);
  }

  void finish_outputs(const OutputEpilogue& epilogue, const T* products, const WindowRange& range) const {
    const auto filters = static_cast<int>(problem_.y.back());
    by_epilogue<T>(epilogue, problem_, [&](const auto& outputs) {
      by_width(filters / shape_.groups, [&](auto width) {
        constexpr int pack = decltype(width)::value;
        using Finish = FinishOutputs<T, pack, std::decay_t<decltype(outputs)>>;
        for_each_element(problem_.op, device_.stream(), range.count * filters / pack,
                         Finish{products, outputs, range.first, filters});
      });
    });
  }
  template <typename Function>
  static void by_width(int channels, Function&& function) {
    if (channels % pack_size<T> == 0) return function(std::integral_constant<int, pack_size<T>>{});
    function(std::integral_constant<int, 1>{});
  }

  void finish_filter_gradients(const T* products, const Tensor& dw, const std::optional<RadialFilters>& radial) const {
    if (radial) {
      const FilterPack& filters = packed_filters<Operand>(device_, radial->w, shape_.padded, guard());
      const RadialFilterGradient<T> gradient{radial->inv_filter_norm.read<T>(), radial->sums.read<T>()};
      for_each_element(problem_.op, device_.stream(), dw.count(),
                       FinishFilterGradients<Operand, true>{products, filters.data<Operand>(), gradient, dw.write<T>(),
                                                            shape_.size, shape_.padded});
    } else if constexpr (!Operand::rounded) {
      for_each_element(
          problem_.op, device_.stream(), dw.count(),
          FinishFilterGradients<Operand, false>{products, nullptr, {}, dw.write<T>(), shape_.size, shape_.padded});
    }
  }

  CudaBackend& device_;
  const ConvProblem& problem_;
  PatchShape shape_;
  ConvProducts<Element, T> products_;
};

template <typename Function>
void by_convolution(CudaBackend& device, const ConvProblem& problem, Function&& function) {
  const auto call = [&](auto operand) { function(PatchConvolution<decltype(operand)>(device, problem)); };
  by_operand(problem.dtype, problem.norms ? problem.precision : Precision::fp32, call);
}

}  // namespace

void PatchGemm::forward(CudaBackend& device, const ConvProblem& problem, const Tensor& x, const Tensor& w,
                        const OutputEpilogue& epilogue) const {
  by_convolution(device, problem, [&](const auto& convolution) { convolution.forward(x, w, epilogue); });
}

void PatchGemm::backward_data(CudaBackend& device, const ConvProblem& problem, const Tensor& v, const Tensor& w,
                              const Tensor& dx, const std::optional<RadialInput>& radial) const {
  by_convolution(device, problem, [&](const auto& convolution) { convolution.backward_data(v, w, dx, radial); });
}

void PatchGemm::backward_weights(CudaBackend& device, const ConvProblem& problem, const Tensor& x, const Tensor& v,
                                 const Tensor& dw, const std::optional<RadialFilters>& radial) const {
  by_convolution(device, problem, [&](const auto& convolution) { convolution.backward_weights(x, v, dw, radial); });
}

}  // namespace sn::cuda

#include "cpu/dark_patches.h"

#include <algorithm>
#include <memory>

namespace sn::cpu {
namespace {

// Winograd's error of cos(theta) is about 1.6e-7 times the ratio of the lengths (docs/maths.md): at most 5e-5 is left.
constexpr float greatest_ratio = 256;
constexpr std::int64_t tile = 4;

void find_in_image(const float* inverse_norms, std::int64_t height, std::int64_t width, std::int64_t first,
                   std::vector<std::int64_t>& positions) {
  // Calls body(position in the image) for the windows of a tile.
  const auto for_each_of_tile = [&](std::int64_t top, std::int64_t left, auto body) {
    for (std::int64_t row = top; row < std::min(top + tile, height); ++row) {
      for (std::int64_t column = left; column < std::min(left + tile, width); ++column) body(row * width + column);
    }
  };
  for (std::int64_t top = 0; top < height; top += tile) {
    for (std::int64_t left = 0; left < width; left += tile) {
      float least = INFINITY;
      for_each_of_tile(top, left, [&](std::int64_t at) {
        if (inverse_norms[at] > 0) least = std::min(least, inverse_norms[at]);
      });
      for_each_of_tile(top, left, [&](std::int64_t at) {
        if (inverse_norms[at] > greatest_ratio * least) positions.push_back(first + at);
      });
    }
  }
}

}  // namespace

DarkPatches::DarkPatches(CpuBackend& backend, const NormKernels<float>& norms, const float* inverse_norms,
                         std::int64_t images, const Tensor& x, const Tensor& y, const ConvGeometry& geometry)
    : backend_(backend), in_h_(x.shape[1]), in_w_(x.shape[2]), channels_(x.shape[3]), out_h_(y.shape[1]),
      out_w_(y.shape[2]), filters_(y.shape[3]), padding_h_(geometry.padding_h), padding_w_(geometry.padding_w) {
  const auto has = std::make_unique<bool[]>(static_cast<std::size_t>(images));
  norms.find_uneven_tiles(inverse_norms, has.get(), images, static_cast<int>(out_h_), static_cast<int>(out_w_),
                          greatest_ratio);
  for (std::int64_t n = 0; n < images; ++n) {
    const std::int64_t first = n * out_h_ * out_w_;
    if (has[static_cast<std::size_t>(n)]) find_in_image(inverse_norms + first, out_h_, out_w_, first, positions_);
  }
}

template <typename Body>
void DarkPatches::for_each_part(Body&& body) const {
  const std::int64_t size = 9 * channels_;
  constexpr std::int64_t most_numbers = 1 << 20, fewest_patches = 64;
  const auto most = static_cast<std::size_t>(std::max(most_numbers / size, fewest_patches));
  for (std::size_t first = 0; first < positions_.size(); first += most) {
    const auto count = static_cast<std::int64_t>(std::min(most, positions_.size() - first));
    body(Part{first, backend_.scratch(DType::f32, {count, size}), backend_.scratch(DType::f32, {count, filters_})});
  }
}

// Calls pixel(index in x, index in the patch) for the pixels of the patch that are inside of the image.
template <typename Pixel>
void DarkPatches::for_each_pixel(std::int64_t position, Pixel&& pixel) const {
  const std::int64_t image = position / (out_h_ * out_w_);
  const std::int64_t top = position / out_w_ % out_h_ - padding_h_, left = position % out_w_ - padding_w_;
  for (std::int64_t i = 0; i < 9; ++i) {
    const std::int64_t row = top + i / 3, column = left + i % 3;
    if (row < 0 || row >= in_h_ || column < 0 || column >= in_w_) continue;
    pixel(((image * in_h_ + row) * in_w_ + column) * channels_, i * channels_);
  }
}

void DarkPatches::copy_patches(const float* x, const Part& part) const {
  float* to = part.patches.write<float>();
  std::fill_n(to, part.patches.count(), 0.0F);
  for (std::int64_t i = 0; i < part.patches.shape[0]; ++i, to += part.patches.shape[1]) {
    for_each_pixel(positions_[part.first + static_cast<std::size_t>(i)],
                   [&](std::int64_t pixel, std::int64_t at) { std::copy_n(x + pixel, channels_, to + at); });
  }
}

void DarkPatches::forward(const float* x, const Tensor& unit_filters, float* s) const {
  const Tensor filters{unit_filters.storage, DType::f32, {filters_, 9 * channels_}};
  for_each_part([&](const Part& part) {
    copy_patches(x, part);
    backend_.matmul(part.patches, filters, {}, part.products, false, true);
    const float* products = part.products.read<float>();
    for (std::int64_t i = 0; i < part.products.shape[0]; ++i) {
      std::copy_n(products + i * filters_, filters_,
                  s + positions_[part.first + static_cast<std::size_t>(i)] * filters_);
    }
  });
}

void DarkPatches::take(float* v) {
  gradients_.clear();
  for (const std::int64_t position : positions_) {
    float* of_filters = v + position * filters_;
    gradients_.insert(gradients_.end(), of_filters, of_filters + filters_);
    std::fill_n(of_filters, filters_, 0.0F);
  }
}

void DarkPatches::add_to_dx(const Tensor& unit_filters, float* dx) const {
  const Tensor filters{unit_filters.storage, DType::f32, {filters_, 9 * channels_}};
  for_each_part([&](const Part& part) {
    std::copy_n(gradients_.data() + part.first * static_cast<std::size_t>(filters_), part.products.count(),
                part.products.write<float>());
    backend_.matmul(part.products, filters, {}, part.patches, false, false);
    const float* from = part.patches.read<float>();
    for (std::int64_t i = 0; i < part.patches.shape[0]; ++i, from += part.patches.shape[1]) {
      for_each_pixel(positions_[part.first + static_cast<std::size_t>(i)], [&](std::int64_t pixel, std::int64_t at) {
        for (std::int64_t c = 0; c < channels_; ++c) dx[pixel + c] += from[at + c];
      });
    }
  });
}

void DarkPatches::add_to_dw(const float* x, Tensor& dw) const {
  for_each_part([&](const Part& part) {
    copy_patches(x, part);
    std::copy_n(gradients_.data() + part.first * static_cast<std::size_t>(filters_), part.products.count(),
                part.products.write<float>());
    const Tensor more = backend_.scratch(DType::f32, {filters_, 9 * channels_});
    backend_.matmul(part.products, part.patches, {}, more, true, false);
    if (dw) {
      backend_.add(dw, more, dw);
    } else {
      dw = more;
    }
  });
}

}  // namespace sn::cpu

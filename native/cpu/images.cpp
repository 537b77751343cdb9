#include <algorithm>

#include "cpu/backend.h"

namespace sn::cpu {
namespace {

// value[channel * 256 + pixel]: exact, and cheaper than the arithmetic.
std::vector<float> normalized_pixels(const ImageBatch& batch) {
  std::vector<float> table;
  table.reserve(batch.mean.size() * 256);
  for (std::size_t channel = 0; channel < batch.mean.size(); ++channel) {
    for (int pixel = 0; pixel < 256; ++pixel) {
      table.push_back((static_cast<float>(pixel) - batch.mean[channel]) / batch.deviation[channel]);
    }
  }
  return table;
}

void place_pixel(const std::uint8_t* source, const std::vector<float>& table, std::int64_t channels, float* target) {
  for (std::int64_t channel = 0; channel < channels; ++channel) {
    target[channel] = table[static_cast<std::size_t>(channel * 256 + source[channel])];
  }
}

void place_image(const std::uint8_t* source, const ImageSize& from, const ImagePlacement& placement,
                 const std::vector<float>& table, const ImageSize& to, float* target) {
  std::fill_n(target, to.elements(), 0.0f);
  for (std::int64_t row = 0; row < to.height; ++row) {
    const std::int64_t source_row = placement.top + (placement.flip_vertical != 0 ? to.height - 1 - row : row);
    if (source_row < 0 || source_row >= from.height) continue;
    for (std::int64_t column = 0; column < to.width; ++column) {
      const std::int64_t source_column =
          placement.left + (placement.flip_horizontal != 0 ? to.width - 1 - column : column);
      if (source_column < 0 || source_column >= from.width) continue;
      place_pixel(source + (source_row * from.width + source_column) * from.channels, table, from.channels,
                  target + (row * to.width + column) * to.channels);
    }
  }
}

class CpuImageJob final : public ImageJob {
 public:
  CpuImageJob(ImageBatch batch, Tensor pixels, Tensor out)
      : batch_(std::move(batch)), pixels_(std::move(pixels)), out_(std::move(out)) {
    batch_.copy_images(pixels_.write<std::uint8_t>());
  }

  void load() override {
    const std::vector<float> table = normalized_pixels(batch_);
    const auto* pixels = pixels_.read<std::uint8_t>();
    float* target = out_.write<float>();
    for (const ImagePlacement& placement : batch_.placements) {
      place_image(pixels, batch_.source, placement, table, batch_.output, target);
      pixels += batch_.source.elements();
      target += batch_.output.elements();
    }
  }

  Tensor finish() override { return std::move(out_); }

 private:
  ImageBatch batch_;
  Tensor pixels_, out_;
};

}  // namespace

std::unique_ptr<ImageJob> CpuBackend::image_batch(ImageBatch batch) {
  const auto images = static_cast<std::int64_t>(batch.indices.size());
  Tensor pixels = scratch(DType::u8, {images * batch.source.elements()});
  Tensor out = scratch(DType::f32, {images, batch.output.height, batch.output.width, batch.output.channels});
  return std::make_unique<CpuImageJob>(std::move(batch), std::move(pixels), std::move(out));
}

}  // namespace sn::cpu

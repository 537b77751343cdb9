#include "cpu/convolution.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "cpu/dnnl.h"
#include "cpu/winograd.h"

namespace sn::cpu {
namespace {

bool winograd_allowed() {
  static const char* asked = std::getenv("SPHERENET_WINOGRAD");
  return asked == nullptr || std::strcmp(asked, "off") != 0;
}

// On NHWC images of fewer channels than a vector has (8 with AVX2, where it was seen; 16 with AVX-512), oneDNN 2.6
// writes beyond its workspace in the gradient of 1x1 filters with a stride.
bool needs_blocks(const ConvolutionShape& s) {
  constexpr std::int64_t widest_vector = 16;
  const ConvGeometry& g = s.geometry;
  const bool one_by_one = g.kernel_h == 1 && g.kernel_w == 1, strided = g.stride_h > 1 || g.stride_w > 1;
  return one_by_one && strided && g.groups == 1 && s.channels < widest_vector;
}

constexpr std::int64_t chunk_bytes = std::int64_t{8} << 20;

}  // namespace

bool is_convolved_in_tiles(const ConvolutionShape& shape) {
  return winograd_allowed() && WinogradConvolution::suits(shape);
}

std::shared_ptr<Convolution> Convolutions::make(const ConvolutionShape& shape) {
  using Algorithm = DnnlConvolution::Algorithm;
  const auto of_dnnl = [&](Algorithm algorithm) { return std::make_shared<DnnlConvolution>(shape, dnnl_, algorithm); };
  if (is_convolved_in_tiles(shape)) {
    // Some versions of oneDNN have Winograd's algorithm for AVX-512; it is slow on few channels.
    if (std::min(shape.channels, shape.filters) >= 32) {
      try {
        return of_dnnl(Algorithm::winograd);
      } catch (const dnnl::error&) {
      }
    }
    return std::make_shared<WinogradConvolution>(shape, backend_, winograd_);
  }
  const bool blocks = DnnlConvolution::suits_blocks(shape) || needs_blocks(shape);
  return of_dnnl(blocks ? Algorithm::blocked : Algorithm::direct);
}

std::shared_ptr<Convolution> Convolutions::of(const ConvolutionShape& shape) {
  return made_.get(shape, [&] { return make(shape); });
}

bool adds_filter_gradients(const Tensor& w) { return static_cast<std::int64_t>(w.bytes()) < chunk_bytes / 2; }

std::int64_t images_per_chunk(const Tensor& x, const Tensor& y) {
  const std::int64_t images = x.shape[0];
  const auto bytes = static_cast<std::int64_t>(x.bytes() + 2 * y.bytes());
  const std::int64_t chunks = std::clamp<std::int64_t>((bytes + chunk_bytes - 1) / chunk_bytes, 1, images);
  return (images + chunks - 1) / chunks;
}

}  // namespace sn::cpu

// Batches of images as the data loader asks for them: gathered from a data set of bytes, padded, cropped, flipped and
// normalised. A pixel of the padding is 0 after normalisation, as if the image had been normalised first: the common
// CIFAR augmentation.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "core/tensor.h"
#include "math/macros.h"

namespace sn {

struct ImageSize {
  std::int64_t height, width, channels;

  SN_HD_MEMBER std::int64_t elements() const { return height * width * channels; }
};

// Where the output's corner lies in its source (negative within the padding), and which way it is read. Read on
// devices as three integers and two flags.
struct ImagePlacement {
  std::int32_t top, left;
  std::int32_t flip_horizontal, flip_vertical;  // 0 or 1
};

struct ImageBatch {
  const std::uint8_t* images;  // the whole data set, NHWC; see ImageJob
  ImageSize source, output;    // of as many channels
  std::vector<std::int32_t> indices;
  std::vector<ImagePlacement> placements;  // one an image
  std::vector<float> mean, deviation;      // one a channel: (pixel - mean) / deviation

  std::size_t image_bytes() const { return static_cast<std::size_t>(source.elements()); }
  // The bytes of the chosen images, one after the other.
  void copy_images(std::uint8_t* target) const {
    for (const std::int32_t index : indices) {
      std::memcpy(target, images + static_cast<std::size_t>(index) * image_bytes(), image_bytes());
      target += image_bytes();
    }
  }
};

// A batch in the making. It is made on the thread of the environment and copies the bytes of its images there:
// afterwards JavaScript may give the data set's memory to another thread, which frees it. load() does the slow part and
// may run on any thread; finish() runs on the thread of the environment again and returns f32
// [images, height, width, channels].
class ImageJob {
 public:
  virtual ~ImageJob() = default;
  virtual void load() = 0;
  virtual Tensor finish() = 0;
};

}  // namespace sn

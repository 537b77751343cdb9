// Batches of images: the bytes of a batch go over on a copy stream of their own while the network trains, and are
// padded, cropped, flipped and normalised on the device.
#include "cuda/images.h"

#include <cstring>

#include "cuda/backend.h"
#include "cuda/elements.h"

namespace sn::cuda {

UploadSlot::UploadSlot(std::size_t bytes) : bytes_(bytes) {
  check(cudaHostAlloc(&host_, bytes, cudaHostAllocDefault), "imageBatch");
  check(cudaMalloc(&device_, bytes), "imageBatch");
  check(cudaEventCreateWithFlags(&read_, cudaEventDisableTiming), "imageBatch");
}

UploadSlot::~UploadSlot() {
  cudaFreeHost(host_);
  cudaFree(device_);
  if (read_ != nullptr) cudaEventDestroy(read_);
}

void UploadSlot::upload(cudaStream_t copy_stream) {
  check(cudaStreamWaitEvent(copy_stream, read_, 0), "imageBatch");
  check(cudaMemcpyAsync(device_, host_, bytes_, cudaMemcpyHostToDevice, copy_stream), "imageBatch");
  check(cudaStreamSynchronize(copy_stream), "imageBatch");
}

void UploadSlot::consumed_by(cudaStream_t stream) { check(cudaEventRecord(read_, stream), "imageBatch"); }

UploadSlots::UploadSlots(cudaStream_t compute_stream) : compute_stream_(compute_stream) {
  check(cudaStreamCreateWithFlags(&copy_stream_, cudaStreamNonBlocking), "cudaStreamCreate");
}

UploadSlots::~UploadSlots() { cudaStreamDestroy(copy_stream_); }

std::unique_ptr<UploadSlot> UploadSlots::take(std::size_t bytes) {
  for (auto& slot : free_) {
    if (slot->bytes() != bytes) continue;
    std::swap(slot, free_.back());
    auto taken = std::move(free_.back());
    free_.pop_back();
    return taken;
  }
  return std::make_unique<UploadSlot>(bytes);
}

void UploadSlots::give_back(std::unique_ptr<UploadSlot> slot) {
  // Batches come in one or two sizes; more are not worth keeping.
  constexpr std::size_t most = 8;
  if (free_.size() == most) free_.erase(free_.begin());
  free_.push_back(std::move(slot));
}

namespace {

// Writes each output pixel once; reads at most one byte for it. 5 bytes an element.
struct PlaceImages {
  const std::uint8_t* pixels;
  const ImagePlacement* placements;
  const float* mean;
  const float* deviation;
  float* out;
  ImageSize from, to;

  __device__ void operator()(std::int64_t i) const {
    const std::int64_t channel = i % to.channels;
    const std::int64_t column = i / to.channels % to.width;
    const std::int64_t row = i / to.channels / to.width % to.height;
    const std::int64_t image = i / to.elements();
    const ImagePlacement placement = placements[image];
    const std::int64_t source_row = placement.top + (placement.flip_vertical != 0 ? to.height - 1 - row : row);
    const std::int64_t source_column =
        placement.left + (placement.flip_horizontal != 0 ? to.width - 1 - column : column);
    const bool inside = source_row >= 0 && source_row < from.height && source_column >= 0 && source_column < from.width;
    if (!inside) {
      out[i] = 0.0f;
      return;
    }
    const std::int64_t pixel = (image * from.height + source_row) * from.width + source_column;
    out[i] = (static_cast<float>(pixels[pixel * from.channels + channel]) - mean[channel]) / deviation[channel];
  }
};

class CudaImageJob final : public ImageJob {
 public:
  CudaImageJob(ImageBatch batch, Tensor out, UploadSlots& slots)
      : batch_(std::move(batch)), out_(std::move(out)), slots_(slots), slot_(slots.take(layout().bytes)) {
    batch_.copy_images(host() + layout().pixels);
  }

  void load() override {
    const Layout at = layout();
    unsigned char* host = this->host();
    std::memcpy(host, batch_.placements.data(), at.mean);
    std::memcpy(host + at.mean, batch_.mean.data(), at.deviation - at.mean);
    std::memcpy(host + at.deviation, batch_.deviation.data(), at.pixels - at.deviation);
    slot_->upload(slots_.copy_stream());
  }

  Tensor finish() override {
    const Layout at = layout();
    const auto* device = static_cast<const unsigned char*>(slot_->device());
    const PlaceImages place{device + at.pixels,
                            reinterpret_cast<const ImagePlacement*>(device),
                            reinterpret_cast<const float*>(device + at.mean),
                            reinterpret_cast<const float*>(device + at.deviation),
                            out_.write<float>(),
                            batch_.source,
                            batch_.output};
    for_each_element("imageBatch", slots_.compute_stream(), out_.count(), place);
    slot_->consumed_by(slots_.compute_stream());
    slots_.give_back(std::move(slot_));
    return std::move(out_);
  }

 private:
  unsigned char* host() const { return static_cast<unsigned char*>(slot_->host()); }

  // Where the parts lie in the slot; the placements come first.
  struct Layout {
    std::size_t mean, deviation, pixels, bytes;
  };
  Layout layout() const {
    const std::size_t images = batch_.indices.size(), channels = batch_.mean.size();
    const std::size_t mean = images * sizeof(ImagePlacement);
    const std::size_t deviation = mean + channels * sizeof(float);
    const std::size_t pixels = deviation + channels * sizeof(float);
    return {mean, deviation, pixels, pixels + images * batch_.image_bytes()};
  }

  ImageBatch batch_;
  Tensor out_;
  UploadSlots& slots_;
  std::unique_ptr<UploadSlot> slot_;
};

}  // namespace

std::unique_ptr<ImageJob> CudaBackend::image_batch(ImageBatch batch) {
  Tensor out = scratch(DType::f32, {static_cast<std::int64_t>(batch.indices.size()), batch.output.height,
                                    batch.output.width, batch.output.channels});
  return std::make_unique<CudaImageJob>(std::move(batch), std::move(out), *uploads_);
}

}  // namespace sn::cuda

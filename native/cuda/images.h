// Staging for batches of images.
#pragma once

#include <memory>
#include <vector>

#include "core/backend.h"
#include "cuda/error.h"

namespace sn::cuda {

// Pinned host memory, as much device memory, and when the device memory may be written again.
class UploadSlot {
 public:
  explicit UploadSlot(std::size_t bytes);
  ~UploadSlot();
  UploadSlot(const UploadSlot&) = delete;
  UploadSlot& operator=(const UploadSlot&) = delete;

  std::size_t bytes() const { return bytes_; }
  void* host() const { return host_; }
  void* device() const { return device_; }

  // Starts the copy on its own stream, after `stream` has read what was there before, and waits for it.
  void upload(cudaStream_t copy_stream);
  // What is on `stream` now is the last to read the slot.
  void consumed_by(cudaStream_t stream);

 private:
  std::size_t bytes_;
  void* host_ = nullptr;
  void* device_ = nullptr;
  cudaEvent_t read_ = nullptr;
};

// Slots go round: a training run prefetches a few batches of one size.
class UploadSlots {
 public:
  explicit UploadSlots(cudaStream_t compute_stream);
  ~UploadSlots();
  UploadSlots(const UploadSlots&) = delete;
  UploadSlots& operator=(const UploadSlots&) = delete;

  std::unique_ptr<UploadSlot> take(std::size_t bytes);
  void give_back(std::unique_ptr<UploadSlot> slot);
  cudaStream_t copy_stream() const { return copy_stream_; }
  cudaStream_t compute_stream() const { return compute_stream_; }

 private:
  cudaStream_t compute_stream_;
  cudaStream_t copy_stream_ = nullptr;
  std::vector<std::unique_ptr<UploadSlot>> free_;
};

}  // namespace sn::cuda

// The CUDA device: cuBLAS for products, our kernels for the rest. Each operator family lives in the .cu file of its
// name, the algorithms of convolutions in convolution/. Everything is put on one compute stream in the order of the
// calls, so that a block of memory is free for the next operator as soon as its owner lets go of it. Only read() and
// synchronize() wait.
#pragma once

#include <memory>

#include "core/allocator.h"
#include "core/backend.h"
#include "cuda/dynamic_scalar.h"
#include "cuda/error.h"
#include "cuda/gemm.h"

namespace sn::cuda {

struct Capture;     // a graph in the making (cuda/capture.h)
class UploadSlots;  // pinned staging for images (cuda/images.h)

class CudaBackend final : public Backend {
 public:
  CudaBackend();
  ~CudaBackend() override;

  const char* name() const override { return "cuda"; }
  DeviceInfo info() const override;
  void set_matmul_precision(Precision precision) override { precision_ = precision; }
  void synchronize() override;
  void begin_capture() override;
  std::unique_ptr<CapturedGraph> end_capture() override;

  std::shared_ptr<Storage> allocate(std::size_t bytes) override;
  MemoryStats memory_stats() const override;
  void reset_peak() override { allocator_->reset_peak(); }
  void release_cache() override { allocator_->release_cache(); }
  void write(const void* host, const Tensor& to) override;
  void read(const Tensor& from, void* host) override;
  void copy(const Tensor& from, const Tensor& to) override;
  std::unique_ptr<ImageJob> image_batch(ImageBatch batch) override;

#define SN_OPERATOR(result, name, parameters) result name parameters override;
#include "core/operators.def"

  // For the algorithms of convolutions.
  using Backend::scratch;
  cudaStream_t stream() const { return stream_; }
  const Gemm& gemm() const { return *gemm_; }
  int multiprocessors() const { return multiprocessors_; }
  std::size_t l2_bytes() const { return l2_bytes_; }
  // Another number for each capture, 0 outside: what is derived from tensors is made anew within each.
  std::uint64_t capture_id() const;

 private:
  // A number that replays of a graph being captured will be given anew.
  DynamicScalar dynamic_scalar(double value);
  // Throws where the operator cannot be recorded.
  void require_no_capture(const char* op) const;

  // Products of f32 operands as set_matmul_precision() asked for; those of losses are always fp32.
  Precision precision_ = Precision::tf32;

  int multiprocessors_ = 0;
  std::size_t l2_bytes_ = 0;
  std::string name_;

  std::shared_ptr<Allocator> allocator_;  // a graph's own while one is captured
  cudaStream_t stream_ = nullptr;
  std::unique_ptr<Gemm> gemm_;
  void* gemm_workspace_ = nullptr;
  std::unique_ptr<UploadSlots> uploads_;

  std::shared_ptr<MemorySource> memory_;
  std::vector<std::weak_ptr<Allocator>> pools_;  // of captured graphs, for the statistics
  std::unique_ptr<Capture> capture_;
  std::uint64_t captures_ = 0;
};

}  // namespace sn::cuda

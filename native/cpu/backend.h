// The CPU device: oneDNN for the convolutions and matrix products of f32, our own OpenMP kernels (cpu/kernels) for
// everything else. The operators of core/operators/NAME.def are in cpu/NAME.cpp.
#pragma once

#include <memory>

#include "core/allocator.h"
#include "core/backend.h"
#include "cpu/kernels/kernels.h"
#include "cpu/system_memory.h"

namespace sn::cpu {

class Convolutions;  // cpu/convolution.h
struct DnnlState;    // cpu/dnnl.h
struct FilterCache;  // cpu/filter_cache.h

class CpuBackend final : public Backend {
 public:
  CpuBackend();
  ~CpuBackend() override;

  const char* name() const override { return device_name; }
  DeviceInfo info() const override;
  DnnlState& dnnl() { return *dnnl_; }

  std::shared_ptr<Storage> allocate(std::size_t bytes) override;
  MemoryStats memory_stats() const override { return allocator_->stats(); }
  void reset_peak() override { allocator_->reset_peak(); }
  void release_cache() override { allocator_->release_cache(); }
  void write(const void* host, const Tensor& to) override;
  void read(const Tensor& from, void* host) override;
  void copy(const Tensor& from, const Tensor& to) override;
  std::unique_ptr<ImageJob> image_batch(ImageBatch batch) override;

#define SN_OPERATOR(result, name, parameters) result name parameters override;
#include "core/operators.def"

  using Backend::scratch;

 private:
  const FilterCache& unit_filters(const Tensor& w, const NormGuard& guard);

  std::shared_ptr<Allocator> allocator_;
  std::unique_ptr<DnnlState> dnnl_;
  const Kernels& kernels_;
  std::unique_ptr<Convolutions> convolutions_;
};

}  // namespace sn::cpu

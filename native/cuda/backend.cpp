#include "cuda/backend.h"

#include <algorithm>
#include <string>

#include "core/error.h"
#include "cuda/capture.h"
#include "cuda/device.h"
#include "cuda/images.h"
#include "cuda/presence.h"

namespace sn::cuda {
namespace {

#if defined(SN_EMULATION)
constexpr bool emulated = true;
#else
constexpr bool emulated = false;
#endif

// What cuBLAS recommends for Hopper; enough for the others.
constexpr std::size_t gemm_workspace_bytes = std::size_t{32} << 20;

class DeviceMemory final : public MemorySource {
 public:
  const char* device() const override { return "cuda"; }
  void* allocate(std::size_t bytes) override {
    void* block = nullptr;
    const cudaError_t code = cudaMalloc(&block, bytes);
    if (code == cudaErrorMemoryAllocation) {
      cudaGetLastError();  // taken note of
      return nullptr;
    }
    check(code, "cudaMalloc");
    return block;
  }
  // Waits for the device by itself. At the end of the process the runtime may be gone already.
  void release(void* block) override { cudaFree(block); }
};

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

cudaDeviceProp properties_of_first() {
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
  return properties;
}

// What the driver supports at most, not its own number.
std::string library_versions(const CublasFunctions& cublas) {
  int runtime = 0, driver = 0, major = 0, minor = 0, patch = 0;
  check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  cublas.get_property(cublas_major, &major);
  cublas.get_property(cublas_minor, &minor);
  cublas.get_property(cublas_patch, &patch);
  return "CUDA " + version_text(runtime) + ", driver for CUDA " + version_text(driver) + ", cuBLAS " +
         std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

constexpr int oldest_capability = 80;

// Fills in what the runtime says; returns why the device cannot be used, or nothing.
std::string describe(Availability& found) {
  int devices = 0;
  if (const cudaError_t code = cudaGetDeviceCount(&devices); code != cudaSuccess) {
    cudaGetLastError();
    return std::string("the CUDA runtime finds no device: ") + cudaGetErrorString(code) +
           "; install an NVIDIA driver of version 580 or newer (CUDA 13)";
  }
  found.devices = devices;
  if (devices == 0) return "an NVIDIA driver is installed, but finds no device";
  const cudaDeviceProp properties = properties_of_first();
  found.name = properties.name;
  found.compute_capability = std::to_string(properties.major) + "." + std::to_string(properties.minor);
  found.memory_bytes = properties.totalGlobalMem;
  if (properties.major * 10 + properties.minor < oldest_capability) {
    return found.name + " has compute capability " + found.compute_capability + ", but 8.0 or newer is needed";
  }
  const CublasLibrary& cublas = cublas_library();
  if (!cublas.found) return cublas.reason;
  found.cublas = cublas.path;
  found.library = library_versions(cublas.functions);
  return "";
}

Availability look() {
  Availability found{};
  found.compiled = true;
  found.emulated = emulated;
  found.driver = true;
  if (!emulated) {
    const Presence driver = presence();
    found.driver = driver.driver;
    found.devices = driver.devices;
    if (driver.devices == 0) {
      found.reason = driver.summary;
      if (!driver.driver) found.reason += ": install NVIDIA's driver of version 580 or newer";
      return found;
    }
  }
  const std::string fault = describe(found);
  found.available = fault.empty();
  found.reason = found.available ? found.name + ", compute capability " + found.compute_capability : fault;
  return found;
}

std::unique_ptr<Backend> make_backend() {
  const Availability found = availability();
  if (!found.available) throw Error(ErrorCode::device, "device", "device \"cuda\" cannot be used: " + found.reason);
  return std::make_unique<CudaBackend>();
}

}  // namespace

const Device& device() {
  static constexpr Device cuda{"cuda", make_backend};
  return cuda;
}

Availability availability() {
  static const Availability found = look();
  return found;
}

CudaBackend::CudaBackend() : memory_(std::make_shared<DeviceMemory>()) {
  allocator_ = std::make_shared<Allocator>(memory_);
  const cudaDeviceProp properties = properties_of_first();
  multiprocessors_ = properties.multiProcessorCount;
  l2_bytes_ = static_cast<std::size_t>(properties.l2CacheSize);
  name_ = properties.name;
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
  gemm_ = std::make_unique<Gemm>(stream_);
  // Not from the allocator: statistics tell of tensors.
  gemm_workspace_ = memory_->allocate(gemm_workspace_bytes);
  if (gemm_workspace_ == nullptr) {
    throw Error(ErrorCode::device, "memory", "out of memory: the cuda device has no 32 MiB left for cuBLAS to work in");
  }
  gemm_->set_workspace(gemm_workspace_, gemm_workspace_bytes);
  uploads_ = std::make_unique<UploadSlots>(stream_);
}

// Whatever fails here has no one left to be told.
CudaBackend::~CudaBackend() {
  if (capture_) {
    cudaGraph_t unfinished = nullptr;
    cudaStreamEndCapture(stream_, &unfinished);
    if (unfinished != nullptr) cudaGraphDestroy(unfinished);
  }
  cudaStreamSynchronize(stream_);
  uploads_.reset();
  gemm_.reset();
  memory_->release(gemm_workspace_);
  cudaStreamDestroy(stream_);
}

DeviceInfo CudaBackend::info() const { return {availability().library, name_}; }

void CudaBackend::synchronize() {
  require_no_capture("synchronize");
  check(cudaStreamSynchronize(stream_), "synchronize");
}

// The pools of graphs live beside the allocator. Their peaks fell together with what it holds now, not with its own.
MemoryStats CudaBackend::memory_stats() const {
  MemoryStats stats = allocator_->stats();
  std::uint64_t with_graphs = stats.allocated;
  for (const auto& pool : pools_) {
    const auto alive = pool.lock();
    if (!alive || alive == allocator_) continue;
    const MemoryStats own = alive->stats();
    with_graphs += own.peak;
    stats.allocated += own.allocated;
    stats.reserved += own.reserved;
    stats.storages += own.storages;
  }
  stats.peak = std::max(stats.peak, with_graphs);
  return stats;
}

std::shared_ptr<Storage> CudaBackend::allocate(std::size_t bytes) { return allocate_storage(*this, allocator_, bytes); }

// From pageable memory: the runtime has taken the bytes in before it returns.
void CudaBackend::write(const void* host, const Tensor& to) {
  require_no_capture("write");
  if (to.bytes() == 0) return;
  check(cudaMemcpyAsync(to.write<void>(), host, to.bytes(), cudaMemcpyHostToDevice, stream_), "write");
}

void CudaBackend::read(const Tensor& from, void* host) {
  require_no_capture("read");
  if (from.bytes() == 0) return;
  check(cudaMemcpyAsync(host, from.read<void>(), from.bytes(), cudaMemcpyDeviceToHost, stream_), "read");
  synchronize();
}

void CudaBackend::copy(const Tensor& from, const Tensor& to) {
  if (to.bytes() == 0) return;
  check(cudaMemcpyAsync(to.write<void>(), from.read<void>(), to.bytes(), cudaMemcpyDeviceToDevice, stream_), "copy");
}

}  // namespace sn::cuda

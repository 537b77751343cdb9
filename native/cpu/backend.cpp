#include "cpu/backend.h"

#include <cstring>
#include <string>

#include "cpu/convolution.h"
#include "cpu/dnnl.h"

namespace sn::cpu {

CpuBackend::CpuBackend()
    : allocator_(std::make_shared<Allocator>(std::make_shared<SystemMemory>())),
      dnnl_(std::make_unique<DnnlState>(allocator_)), kernels_(best_kernels()),
      convolutions_(std::make_unique<Convolutions>(*this, *dnnl_, kernels_.winograd)) {}
CpuBackend::~CpuBackend() = default;

DeviceInfo CpuBackend::info() const {
  const dnnl_version_t* version = dnnl_version();
  return {"oneDNN " + std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
              std::to_string(version->patch),
          kernels_.isa};
}

std::shared_ptr<Storage> CpuBackend::allocate(std::size_t bytes) { return allocate_storage(*this, allocator_, bytes); }

void CpuBackend::write(const void* host, const Tensor& to) { std::memcpy(to.write<void>(), host, to.bytes()); }
void CpuBackend::read(const Tensor& from, void* host) { std::memcpy(host, from.read<void>(), from.bytes()); }
void CpuBackend::copy(const Tensor& from, const Tensor& to) {
  std::memmove(to.write<void>(), from.read<void>(), to.bytes());
}

}  // namespace sn::cpu

#include "cpu/backend.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "core/dispatch.h"
#include "cpu/convolution.h"
#include "cpu/dnnl.h"
#include "cpu/system_memory.h"

namespace sn::cpu {

CpuBackend::CpuBackend()
    : allocator_(std::make_shared<Allocator>(std::make_shared<SystemMemory>())),
      dnnl_(std::make_unique<DnnlState>(allocator_)),
      kernels_(best_kernels()),
      convolutions_(std::make_unique<Convolutions>(*this, *dnnl_, kernels_.winograd)) {}
CpuBackend::~CpuBackend() = default;

DeviceInfo CpuBackend::info() const {
  const dnnl_version_t* version = dnnl_version();
  return {"oneDNN " + std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
              std::to_string(version->patch),
          kernels_.isa};
}

void CpuBackend::begin_capture() {
  throw Error(ErrorCode::device, "device", "graphs are captured on the cuda device only");
}
std::unique_ptr<CapturedGraph> CpuBackend::end_capture() {
  throw Error(ErrorCode::device, "device", "nothing is being captured");
}

std::shared_ptr<Storage> CpuBackend::allocate(std::size_t bytes) {
  return allocate_storage(*this, allocator_, bytes);
}

Tensor CpuBackend::scratch(DType dtype, const Shape& shape) {
  Tensor tensor{nullptr, dtype, shape};
  tensor.storage = allocate(tensor.bytes());
  return tensor;
}

void CpuBackend::write(const void* host, const Tensor& to) { std::memcpy(to.write<void>(), host, to.bytes()); }
void CpuBackend::read(const Tensor& from, void* host) { std::memcpy(host, from.read<void>(), from.bytes()); }
void CpuBackend::copy(const Tensor& from, const Tensor& to) {
  std::memmove(to.write<void>(), from.read<void>(), to.bytes());
}

void CpuBackend::fill(double value, const Tensor& to) {
  by_any_dtype(to.dtype, [&](auto tag) {
    using T = decltype(tag);
    std::fill_n(to.write<T>(), to.count(), static_cast<T>(value));
  });
}

void CpuBackend::cast(const Tensor& from, const Tensor& to) {
  by_any_dtype(from.dtype, [&](auto from_tag) {
    by_any_dtype(to.dtype, [&](auto to_tag) {
      using From = decltype(from_tag);
      using To = decltype(to_tag);
      const From* source = from.read<From>();
      To* target = to.write<To>();
      for (std::int64_t i = 0; i < to.count(); ++i) target[i] = static_cast<To>(source[i]);
    });
  });
}

}  // namespace sn::cpu

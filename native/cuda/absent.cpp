// The CUDA device of an addon that was built without nvcc.
#include "core/error.h"
#include "cuda/device.h"
#include "cuda/presence.h"

namespace sn::cuda {
namespace {

std::unique_ptr<Backend> make_backend() {
  throw Error(ErrorCode::device, "device", "device \"cuda\" cannot be used: " + availability().reason);
}

}  // namespace

const Device& device() {
  static constexpr Device cuda{"cuda", make_backend};
  return cuda;
}

Availability availability() {
  const Presence found = presence();
  Availability availability{};
  availability.driver = found.driver;
  availability.devices = found.devices;
  availability.reason =
      "this addon was built without a CUDA compiler: install the CUDA toolkit (nvcc 12 or newer) and run "
      "npm rebuild spherenet; " +
      found.summary;
  return availability;
}

}  // namespace sn::cuda

// The CUDA device of an addon that was built without nvcc.
#include "core/error.h"
#include "cuda/device.h"
#include "cuda/presence.h"

namespace sn::cuda {

Availability availability() {
  const Presence found = presence();
  Availability availability{};
  availability.driver = found.driver;
  availability.devices = found.devices;
  availability.reason = "this addon was built without a CUDA compiler: install the CUDA toolkit (nvcc 12 or newer) and run "
                        "npm rebuild spherenet; " + found.summary;
  return availability;
}

std::unique_ptr<Backend> make_backend() {
  throw Error(ErrorCode::device, "device", "device \"cuda\" cannot be used: " + availability().reason);
}

}  // namespace sn::cuda

// The CUDA device as the binding sees it: its registration, and whether it can be used here. Nothing of CUDA is named,
// so that an addon built without nvcc (absent.cpp) looks the same.
#pragma once

#include <cstdint>
#include <string>

#include "core/device.h"

namespace sn::cuda {

const Device& device();

struct Availability {
  bool compiled;   // the addon has the device at all
  bool available;  // and it can be used
  bool emulated;   // test build: the sources run on the host
  bool driver;
  int devices;
  std::string reason;                    // one sentence: what is missing and what to install, or what was found
  std::string name, compute_capability;  // of the device in use; empty without one
  std::uint64_t memory_bytes;
  std::string cublas;   // path
  std::string library;  // versions of runtime, driver and cuBLAS
};

Availability availability();

}  // namespace sn::cuda

// The CUDA device as the binding sees it: whether it can be used here, and the backend. Nothing of CUDA is named, so
// that an addon built without nvcc (absent.cpp) looks the same.
#pragma once

#include <memory>
#include <string>

#include "core/backend.h"

namespace sn::cuda {

struct Availability {
  bool compiled;   // the addon has the device at all
  bool available;  // and it can be used
  bool emulated;   // test build: the sources run on the host
  bool driver;
  int devices;
  std::string reason;  // one sentence: what is missing and what to install, or what was found
  std::string name, compute_capability;  // of the device in use; empty without one
  std::uint64_t memory_bytes;
  std::string cublas;   // path
  std::string library;  // versions of runtime, driver and cuBLAS
};

Availability availability();

// Throws Error(device) with the reason where it is not available.
std::unique_ptr<Backend> make_backend();

}  // namespace sn::cuda

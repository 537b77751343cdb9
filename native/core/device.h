// A kind of device, as its folder registers it. Nothing of its library is named here, so that a build without it looks
// the same.
#pragma once

#include <exception>
#include <memory>

#include "core/backend.h"

namespace sn {

struct Device {
  const char* name;  // as users write it, and as Backend::name() gives it
  // Throws Error(device) with the reason where it cannot be used.
  std::unique_ptr<Backend> (*make_backend)();
  // Whether an exception of the device's library says that there is no more memory; null where none does.
  bool (*is_out_of_memory)(const std::exception&) = nullptr;
};

}  // namespace sn

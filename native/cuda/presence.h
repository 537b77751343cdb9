// Whether this machine has an NVIDIA driver and devices. The driver is opened at run time: the binary must load on
// machines without one.
#pragma once

#include <string>

namespace sn::cuda {

struct Presence {
  bool driver;
  int devices;
  std::string summary;  // in words, for `spherenet doctor`
};

Presence presence();

}  // namespace sn::cuda

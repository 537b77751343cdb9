#include "cuda/presence.h"

#include <dlfcn.h>

namespace sn::cuda {

Presence presence() {
  // The driver stays open: unloading it is not supported.
  void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (driver == nullptr) return {false, 0, "no NVIDIA driver found (libcuda.so.1 is not in the loader's path)"};
  auto initialize = reinterpret_cast<int (*)(unsigned)>(dlsym(driver, "cuInit"));
  auto count_devices = reinterpret_cast<int (*)(int*)>(dlsym(driver, "cuDeviceGetCount"));
  if (initialize == nullptr || count_devices == nullptr) return {false, 0, "libcuda.so.1 lacks cuInit: not a driver"};
  int devices = 0;
  if (const int status = initialize(0); status != 0 || count_devices(&devices) != 0 || devices == 0) {
    return {true, 0, "an NVIDIA driver is installed, but finds no device (cuInit says " + std::to_string(status) + ")"};
  }
  return {true, devices, std::to_string(devices) + " NVIDIA device(s) found"};
}

}  // namespace sn::cuda

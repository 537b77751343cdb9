// Included by cuda/launch.h.
#pragma once

#include "cuda/emulation/device.h"

namespace sn::cuda {

template <typename... Parameters, typename... Arguments>
void launch(const Launch& how, void (*kernel)(Parameters...), Arguments... arguments) {
  const emulation::LaunchShape shape{how.grid, how.block, how.shared_bytes};
  check(emulation::check_launch(shape), how.op);
  // By value: on a device, arguments are copied at the launch.
  emulation::submit(how.stream, how.op,
                    [=] { emulation::run_grid(shape, [&] { kernel(static_cast<Parameters>(arguments)...); }); });
  check(cudaGetLastError(), how.op);
}

}  // namespace sn::cuda

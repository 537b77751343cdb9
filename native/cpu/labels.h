// What the losses and the accuracy ask of labels.
#pragma once

#include <string>

#include "core/error.h"
#include "core/tensor.h"

namespace sn::cpu {

// Throws Error(data, "labels") unless all lie in [0, classes).
inline void check_labels(const Tensor& labels, std::int64_t classes) {
  const std::int32_t* values = labels.read<std::int32_t>();
  for (std::int64_t i = 0; i < labels.count(); ++i) {
    if (values[i] >= 0 && values[i] < classes) continue;
    throw Error(ErrorCode::data, "labels",
                "labels[" + std::to_string(i) + "] is " + std::to_string(values[i]) + ", but there are " +
                    std::to_string(classes) + " classes: labels count from 0 and must lie in [0, " +
                    std::to_string(classes - 1) + "]");
  }
}

}  // namespace sn::cpu

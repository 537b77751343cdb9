#include "core/dispatch.h"
#include "cpu/backend.h"
#include "cpu/labels.h"

namespace sn::cpu {

// Ties go to the lower class; a NaN is ahead of every number, so that a diverged network is never right.
void CpuBackend::count_correct(const Tensor& logits, const IndexTensor& labels, int top, const AnyTensor& correct) {
  const std::int64_t batch = logits.shape[0], classes = logits.shape[1];
  check_labels(labels, classes);
  by_dtype(logits.dtype, [&](auto tag) {
    const auto* all_logits = logits.read<decltype(tag)>();
    const std::int32_t* targets = labels.read<std::int32_t>();
    std::int64_t found = 0;
    for (std::int64_t i = 0; i < batch; ++i) {
      const auto* row = all_logits + i * classes;
      const auto own = row[targets[i]];
      std::int64_t ahead = 0;
      for (std::int64_t j = 0; j < classes; ++j) ahead += !(row[j] <= own) || (row[j] == own && j < targets[i]);
      found += ahead < top;
    }
    fill(double(found), correct);
  });
}

}  // namespace sn::cpu

// How many samples are classified correctly.
#include "cuda/backend.h"
#include "cuda/labels.h"
#include "cuda/rows.h"

namespace sn::cuda {
namespace {

// 1 where fewer than `top` classes are ahead of the label's, else 0. Ties go to the lower class; a NaN is ahead of
// every number. Reads the logits once: 1 T.
template <typename T, int width>
__global__ void __launch_bounds__(most_row_threads)
    find_correct(const T* logits, const std::int32_t* labels, double* correct, const int classes, const int top) {
  const T* row = logits + static_cast<std::int64_t>(blockIdx.x) * classes;
  const Label label = read_label(labels, classes);
  const T own_logit = row[label.index];
  const Columns<width> own;
  int ahead = 0;
  for (int j = own.first; j < classes; j += own.step) {
    const auto pack = load<width>(row + j);
    for (int k = 0; k < width; ++k) {
      const T logit = pack.values[k];
      ahead += !(logit <= own_logit) || (logit == own_logit && j + k < label.index);
    }
  }
  ahead = row_sum(ahead);
  if (threadIdx.x == 0) correct[blockIdx.x] = label.valid && ahead < top;
}

}  // namespace

void CudaBackend::count_correct(const Tensor& logits, const IndexTensor& labels, int top, const AnyTensor& correct) {
  constexpr auto op = "count_correct";
  const Tensor found = scratch(DType::f64, {logits.shape[0]});
  by_column(logits, [&](auto tag, auto width) {
    using T = decltype(tag);
    launch_rows({op, stream_, logits.shape, width}, find_correct<T, decltype(width)::value>, logits.read<T>(),
                labels.read<std::int32_t>(), found.write<double>(), static_cast<int>(logits.shape[1]), top);
  });
  sum_into(op, stream_, found, DividedBy{1}, correct);
}

}  // namespace sn::cuda

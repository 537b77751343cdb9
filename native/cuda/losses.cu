// Softmax and angular softmax. A block takes one sample; a second launch sums over the samples in a fixed order.
// Products are fp32: they are few, and small angles need the digits.
#include <limits>

#include "cuda/backend.h"
#include "cuda/directions.h"
#include "cuda/labels.h"
#include "math/hinge.h"
#include "math/margin.h"
#include "math/softmax.h"

namespace sn::cuda {
namespace {

// NaN for a label that is no class.
__device__ double loss_of(const Label& label, double loss) { return label.valid ? loss : double(NAN); }

// sum(exp(logit - highest)) with the highest logit found on the way. NaN never becomes the highest, but the sum.
template <typename T>
struct RunningSoftmax {
  static constexpr T lowest = std::numeric_limits<T>::lowest();  // not -inf, whose differences are NaN
  T highest = lowest;
  double sum = 0;

  template <int width>
  __device__ void add(const Pack<T, width>& logits) {
    const T before = highest;
    for (T logit : logits.values) highest = logit > highest ? logit : highest;
    T added = 0;
    for (T logit : logits.values) added += math::exponential(logit - highest);
    sum = sum * double(math::exponential(before - highest)) + double(added);
  }

  __device__ void combine_over_row() {
    const T own = highest;
    highest = row_max(own);
    sum = row_sum(sum * double(math::exponential(own - highest)));
  }

  __device__ double log_sum() const { return double(highest) + log(sum); }
  __device__ T probability(T logit, T inverse_sum) const { return math::exponential(logit - highest) * inverse_sum; }
};

// Reads the logits twice, the second time from cache, and writes their gradient: 2 T from memory.
template <typename T, int width>
__global__ void __launch_bounds__(most_row_threads)
    cross_entropy_rows(const T* logits, const std::int32_t* labels, T* gradients, double* losses, const int samples,
                       const int classes, const double spread, const double peak) {
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * classes;
  const T* row = logits + first;
  const Label label = read_label(labels, classes);
  const Columns<width> own;
  RunningSoftmax<T> softmax;
  double logit_sum = 0;
  for (int j = own.first; j < classes; j += own.step) {
    const auto pack = load<width>(row + j);
    softmax.add(pack);
    for (T logit : pack.values) logit_sum += double(logit);
  }
  softmax.combine_over_row();
  logit_sum = row_sum(logit_sum);
  if (threadIdx.x == 0) {
    const double loss = math::cross_entropy(softmax.log_sum(), double(row[label.index]), logit_sum, spread, peak);
    losses[blockIdx.x] = loss_of(label, loss);
  }

  const T share = static_cast<T>(1 / softmax.sum);
  for (int j = own.first; j < classes; j += own.step) {
    auto pack = load<width>(row + j);
    for (int k = 0; k < width; ++k) {
      const T own_peak = j + k == label.index ? T(peak) : T(0);
      pack.values[k] =
          math::cross_entropy_gradient(softmax.probability(pack.values[k], share), T(spread), own_peak, T(samples));
    }
    store(gradients + first + j, pack);
  }
}

// The same with a guard inside the logarithm. Reads the logits three times.
template <typename T, int width>
__global__ void __launch_bounds__(most_row_threads)
    guarded_cross_entropy_rows(const T* logits, const std::int32_t* labels, T* gradients, double* losses,
                               const int samples, const int classes, const double spread, const double peak,
                               const double guard) {
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * classes;
  const T* row = logits + first;
  const Label label = read_label(labels, classes);
  const Columns<width> own;
  RunningSoftmax<T> softmax;
  for (int j = own.first; j < classes; j += own.step) softmax.add(load<width>(row + j));
  softmax.combine_over_row();
  const T inverse_sum = static_cast<T>(1 / softmax.sum);
  const auto share = [&](int j) { return spread + (j == label.index ? peak : 0); };
  double loss = 0, pulls = 0;
  for (int j = own.first; j < classes; j += own.step) {
    const auto pack = load<width>(row + j);
    for (int k = 0; k < width; ++k) {
      const auto probability = double(softmax.probability(pack.values[k], inverse_sum));
      loss += math::guarded_cross_entropy(probability, share(j + k), guard);
      pulls += math::guarded_pull(probability, share(j + k), guard);
    }
  }
  loss = row_sum(loss);
  pulls = row_sum(pulls);
  if (threadIdx.x == 0) losses[blockIdx.x] = loss_of(label, loss);

  for (int j = own.first; j < classes; j += own.step) {
    auto pack = load<width>(row + j);
    for (int k = 0; k < width; ++k) {
      const auto probability = double(softmax.probability(pack.values[k], inverse_sum));
      const double pull = math::guarded_pull(probability, share(j + k), guard);
      pack.values[k] = static_cast<T>((probability * pulls - pull) / double(samples));
    }
    store(gradients + first + j, pack);
  }
}

// Reads the logits twice, the second time from cache, and writes their gradient: 2 T from memory.
template <typename T, int width>
__global__ void __launch_bounds__(most_row_threads)
    multi_margin_rows(const T* logits, const std::int32_t* labels, T* gradients, double* losses, const int samples,
                      const int classes, const T margin, const bool squared) {
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * classes;
  const Label label = read_label(labels, classes);
  const T own_logit = logits[first + label.index];
  const T share = static_cast<T>(1 / (double(samples) * double(classes)));
  const Columns<width> own;
  double value = 0, slope = 0;
  for (int j = own.first; j < classes; j += own.step) {
    const auto pack = load<width>(logits + first + j);
    for (int k = 0; k < width; ++k) {
      if (j + k == label.index) continue;
      const auto found = math::hinge(margin - own_logit + pack.values[k], squared);
      value += double(found.value);
      slope += double(found.slope);
    }
  }
  value = row_sum(value);
  slope = row_sum(slope);
  if (threadIdx.x == 0) losses[blockIdx.x] = loss_of(label, value / double(classes));

  for (int j = own.first; j < classes; j += own.step) {
    auto pack = load<width>(logits + first + j);
    for (int k = 0; k < width; ++k) {
      const bool is_target = j + k == label.index;
      pack.values[k] = is_target ? static_cast<T>(-double(share) * slope)
                                 : share * math::hinge(margin - own_logit + pack.values[k], squared).slope;
    }
    store(gradients + first + j, pack);
  }
}

// What the kernels above take and write, a block for each sample.
struct Losses {
  const char* op;
  const Tensor& logits;
  const IndexTensor& labels;
  const Tensor& dlogits;
  Tensor of_samples;

  // `choose` (T{}, width, launch) launches a kernel with what it takes beside that; their mean is the loss.
  template <typename Choose>
  void launch(cudaStream_t stream, const Tensor& loss, const Choose& choose) const {
    const std::int64_t samples = logits.shape[0], classes = logits.shape[1];
    by_column(logits, [&](auto tag, auto width) {
      using T = decltype(tag);
      choose(tag, width, [&](auto kernel, auto... options) {
        launch_rows({op, stream, logits.shape, width}, kernel, logits.read<T>(), labels.read<std::int32_t>(),
                    dlogits.write<T>(), of_samples.write<double>(), static_cast<int>(samples),
                    static_cast<int>(classes), options...);
      });
    });
    sum_into(op, stream, of_samples, DividedBy{double(samples)}, loss);
  }
};

// One entry a sample or a class; the matrices are [samples, classes].
template <typename T>
struct AngularTensors {
  const std::int32_t* labels;
  const double* feature_norms;
  const T* inv_feature_norms;
  const T* inv_weight_norms;
  T* cosines;  // in: x w'; out: s
  T* logits;
  T* cosine_gradients;
  T* norm_gradients;
  double* losses;
  double* angles;
  int samples, classes;
};

template <typename T, typename G>
struct AngularLogits {
  G g;
  Margin margin_function;
  double margin;
  double radius;
  const T* radius_tensor;  // in place of it; may be null
  DynamicScalar annealing;

  __device__ bool by_norm() const { return radius_tensor == nullptr && radius == 0; }
  __device__ double magnitude(const double* feature_norms, std::int64_t sample) const {
    if (radius_tensor != nullptr) return double(*radius_tensor);
    return radius > 0 ? radius : feature_norms[sample];
  }
};

// The block's sample.
template <typename T>
struct AngularRow {
  std::int64_t first;  // of its elements
  Label label;
  T inv_feature_norm;
  T magnitude;                      // |x| or the radius
  math::ValueAndSlope<T> target{};  // of the true class, with its margin
};

// Of the classes from j on.
template <int width, typename T>
__device__ Pack<T, width> cosines_from(const AngularTensors<T>& tensors, const AngularRow<T>& row, int j) {
  auto cosines = load<width>(tensors.cosines + row.first + j);
  const auto inverses = load<width>(tensors.inv_weight_norms + j);
  for (int k = 0; k < width; ++k) {
    cosines.values[k] = math::clamp_cosine(cosines.values[k] * row.inv_feature_norm * inverses.values[k]);
  }
  return cosines;
}

// One thread computes the target for all of them, and writes the angle.
template <typename T, typename G>
__device__ AngularRow<T> angular_row(const AngularTensors<T>& tensors, const AngularLogits<T, G>& how) {
  SN_SHARED(T, target, 2);
  const std::int64_t sample = blockIdx.x;
  AngularRow<T> row{sample * tensors.classes, read_label(tensors.labels, tensors.classes),
                    tensors.inv_feature_norms[sample], static_cast<T>(how.magnitude(tensors.feature_norms, sample))};
  if (threadIdx.x == 0) {
    const T s = cosines_from<1>(tensors, row, row.label.index).values[0];
    const auto found = math::target_value(how.g, s, how.margin_function, how.margin, how.annealing.get());
    target[0] = found.value;
    target[1] = found.slope;
    tensors.angles[sample] = math::pi / 2 - double(math::angle_of(s).a);
  }
  sync_threads();
  row.target = {target[0], target[1]};
  return row;
}

template <int width, typename T, typename G>
__device__ RunningSoftmax<T> softmax_of_row(const AngularTensors<T>& tensors, const AngularLogits<T, G>& how,
                                            const AngularRow<T>& row) {
  const Columns<width> own;
  RunningSoftmax<T> softmax;
  for (int j = own.first; j < tensors.classes; j += own.step) {
    auto pack = cosines_from<width>(tensors, row, j);
    for (int k = 0; k < width; ++k) {
      const T value = how.g.of_cosine(pack.values[k]).value;
      pack.values[k] = row.magnitude * (j + k == row.label.index ? row.target.value : value);
    }
    softmax.add(pack);
  }
  softmax.combine_over_row();
  return softmax;
}

// Reads the products twice, the second time from cache, and writes cosines, logits and gradients: 4 T from memory. The
// angles are computed twice, which costs less than to write them in between. The 1: left to itself, the compiler spills
// registers of float64 to fit more blocks.
template <typename T, typename G, int width>
__global__ void __launch_bounds__(most_row_threads, 1)
    angular_rows(const AngularTensors<T> tensors, const AngularLogits<T, G> how) {
  const AngularRow<T> row = angular_row(tensors, how);
  const RunningSoftmax<T> softmax = softmax_of_row<width>(tensors, how, row);
  const T share = static_cast<T>(1 / softmax.sum);
  const Columns<width> own;
  double norm_gradient = 0;
  for (int j = own.first; j < tensors.classes; j += own.step) {
    const auto cosines = cosines_from<width>(tensors, row, j);
    Pack<T, width> logits, slopes;
    for (int k = 0; k < width; ++k) {
      const auto plain = how.g.of_cosine(cosines.values[k]);
      const bool is_target = j + k == row.label.index;
      const T value = is_target ? row.target.value : plain.value;
      const T slope = is_target ? row.target.slope : plain.slope;
      const T probability = softmax.probability(row.magnitude * value, share);
      const T gradient = math::cross_entropy_gradient(probability, T(0), T(is_target), T(tensors.samples));
      norm_gradient += double(gradient) * double(value);
      slopes.values[k] = slope * (gradient * row.magnitude);
      logits.values[k] = row.magnitude * plain.value;
    }
    store(tensors.cosines + row.first + j, cosines);
    store(tensors.logits + row.first + j, logits);
    store(tensors.cosine_gradients + row.first + j, slopes);
  }
  norm_gradient = row_sum(norm_gradient);
  if (threadIdx.x != 0) return;
  tensors.losses[blockIdx.x] = loss_of(row.label, softmax.log_sum() - double(row.magnitude * row.target.value));
  const bool is_learned = how.by_norm() || how.radius_tensor != nullptr;
  tensors.norm_gradients[blockIdx.x] = is_learned ? static_cast<T>(norm_gradient) : T(0);
}

// dradius = the gradient of the loss times the sum over the samples, by one block.
template <typename T>
__global__ void __launch_bounds__(most_row_threads)
    sum_radius_gradient(const T* norm_gradients, const T* outer, T* gradient, const int samples) {
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < samples; i += most_row_threads) sum += double(norm_gradients[i]);
  sum = block_sum<most_row_threads>(sum);
  if (threadIdx.x == 0) *gradient = static_cast<T>(double(*outer) * sum);
}

// v = u / (|x| |w|) times the gradient of the loss. Reads u, writes v: 2 T.
template <typename T, int width>
__global__ void __launch_bounds__(most_row_threads)
    scale_gradients(const T* gradients, const T* inv_feature_norms, const T* inv_weight_norms, const T* outer,
                    T* scaled, const int classes) {
  const std::int64_t row = blockIdx.x, first = row * classes;
  const T factor = static_cast<T>(double(*outer) * double(inv_feature_norms[row]));
  const Columns<width> own;
  for (int j = own.first; j < classes; j += own.step) {
    auto pack = load<width>(gradients + first + j);
    const auto inverses = load<width>(inv_weight_norms + j);
    for (int k = 0; k < width; ++k) pack.values[k] *= factor * inverses.values[k];
    store(scaled + first + j, pack);
  }
}

}  // namespace

void CudaBackend::softmax_cross_entropy(const Tensor& logits, const IndexTensor& labels, double label_smoothing,
                                        double log_guard, const Tensor& loss, const Tensor& dlogits) {
  const double spread = label_smoothing / double(logits.shape[1]), peak = 1 - label_smoothing;
  const Losses losses{"softmax_cross_entropy", logits, labels, dlogits, scratch(DType::f64, {logits.shape[0]})};
  losses.launch(stream_, loss, [&](auto tag, auto width, const auto& launch) {
    using T = decltype(tag);
    if (log_guard > 0) {
      launch(guarded_cross_entropy_rows<T, decltype(width)::value>, spread, peak, log_guard);
    } else {
      launch(cross_entropy_rows<T, decltype(width)::value>, spread, peak);
    }
  });
}

void CudaBackend::multi_margin(const Tensor& logits, const IndexTensor& labels, double margin, bool squared,
                               const Tensor& loss, const Tensor& dlogits) {
  const Losses losses{"multi_margin", logits, labels, dlogits, scratch(DType::f64, {logits.shape[0]})};
  losses.launch(stream_, loss, [&](auto tag, auto width, const auto& launch) {
    using T = decltype(tag);
    launch(multi_margin_rows<T, decltype(width)::value>, static_cast<T>(margin), squared);
  });
}

void CudaBackend::angular_softmax_forward(const Tensor& x, const Tensor& w, const OptionalTensor& radius,
                                          const IndexTensor& labels, const Tensor& loss, const Tensor& logits,
                                          const Tensor& theta, const AngularSoftmaxSaved& saved,
                                          const AngularSoftmaxOptions& options) {
  constexpr auto op = "angular_softmax_forward";
  const std::int64_t batch = x.shape[0], classes = w.shape[0], features = x.shape[1];
  const Tensor feature_norms = scratch(DType::f64, {batch});
  const Tensor losses_and_angles = scratch(DType::f64, {2, batch});
  const DynamicScalar annealing = dynamic_scalar(options.annealing);
  measure_rows(op, stream_, x, options.eps, feature_norms, saved.inv_feature_norm);
  measure_rows(op, stream_, w, options.eps, {}, saved.inv_weight_norm);
  by_column(logits, [&](auto tag, auto width) {
    using T = decltype(tag);
    gemm_->multiply<T, T>(op, {batch, classes, features}, {x.read<T>(), features}, {w.read<T>(), features, true},
                          {saved.cosine.write<T>(), classes}, Precision::fp32);
    const AngularTensors<T> tensors{labels.read<std::int32_t>(),       feature_norms.read<double>(),
                                    saved.inv_feature_norm.read<T>(),  saved.inv_weight_norm.read<T>(),
                                    saved.cosine.write<T>(),           logits.write<T>(),
                                    saved.cosine_gradient.write<T>(),  saved.norm_gradient.write<T>(),
                                    losses_and_angles.write<double>(), losses_and_angles.write<double>() + batch,
                                    static_cast<int>(batch),           static_cast<int>(classes)};
    math::by_angular<T>(options.angular, [&](auto type) {
      using G = typename decltype(type)::type;
      const AngularLogits<T, G> how{G::make(options.k), options.margin_function, options.margin,
                                    options.radius,     radius.read<T>(),        annealing};
      launch_rows({op, stream_, logits.shape, width}, angular_rows<T, G, decltype(width)::value>, tensors, how);
    });
  });
  sum_into(op, stream_, losses_and_angles, DividedBy{double(batch)}, loss, theta);
}

// With v_ij = u_ij / (|x_i| |w_j|): dx = v w and dw = v' x without their parts along x and w, and dL/d|x| along x.
void CudaBackend::angular_softmax_backward(const Tensor& x, const Tensor& w, const AngularSoftmaxSaved& saved,
                                           const Tensor& dloss, const OptionalTensor& dx, const OptionalTensor& dw,
                                           const OptionalTensor& dradius) {
  constexpr auto op = "angular_softmax_backward";
  const std::int64_t batch = x.shape[0], classes = w.shape[0], features = x.shape[1];
  const Tensor scaled = scratch(x.dtype, {batch, classes});
  by_column(scaled, [&](auto tag, auto width) {
    using T = decltype(tag);
    launch_rows({op, stream_, scaled.shape, width}, scale_gradients<T, decltype(width)::value>,
                saved.cosine_gradient.read<T>(), saved.inv_feature_norm.read<T>(), saved.inv_weight_norm.read<T>(),
                dloss.read<T>(), scaled.write<T>(), static_cast<int>(classes));
    const T* v = scaled.read<T>();
    if (dx) {
      gemm_->multiply<T, T>(op, {batch, features, classes}, {v, classes}, {w.read<T>(), features},
                            {dx.write<T>(), features}, Precision::fp32);
    }
    if (dw) {
      gemm_->multiply<T, T>(op, {classes, features, batch}, {v, classes, true}, {x.read<T>(), features},
                            {dw.write<T>(), features}, Precision::fp32);
    }
    if (dradius) {
      launch({op, stream_, 1u, most_row_threads}, sum_radius_gradient<T>, saved.norm_gradient.read<T>(),
             dloss.read<T>(), dradius.write<T>(), static_cast<int>(batch));
    }
  });
  const LengthGradient length = dradius ? LengthGradient{} : LengthGradient{saved.norm_gradient, dloss};
  if (dx) project_gradients(op, stream_, x, saved.inv_feature_norm, length, dx);
  if (dw) project_gradients(op, stream_, w, saved.inv_weight_norm, {}, dw);
}

}  // namespace sn::cuda

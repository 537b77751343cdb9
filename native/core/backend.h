// Every operator, once. A device implements this class; the binding calls it; shapes, dtypes and devices of
// the arguments have been checked in TypeScript (lib/ops), which also allocates the outputs.
//
// Conventions: images NHWC, filters O x kH x kW x I/groups, labels i32, everything contiguous. An empty Tensor
// is an absent optional argument. Outputs come last among the tensors and are overwritten, never added to.
// Floating tensors of one call share one dtype: f32, or f64 for gradient checks. A device may run operators after the
// call has returned, in the order of the calls; read() and synchronize() wait.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/images.h"
#include "core/tensor.h"
#include "math/angular.h"

namespace sn {

struct Window {
  int kernel_h, kernel_w;
  int stride_h, stride_w;
  int padding_h, padding_w;
  int dilation_h, dilation_w;
};

struct ConvGeometry : Window {
  int groups;
};

// How a norm is kept away from zero: vectors shorter than eps count as zero, or 1/sqrt(n + eps) as in the authors'
// code (math::guarded_inverse_norm).
struct NormGuard {
  double eps;
  bool add;
};

struct SphereOptions {
  Angular angular;  // which g
  double k;         // curvature of the sigmoid where no k tensor is given
  NormGuard guard;
};

// What SphereConv's forward leaves for its backward.
struct SphereSaved {
  Tensor kept;             // [N, OH, OW, O] of s (math/filters.h)
  Tensor inv_patch_norm;   // [N, OH, OW, groups]
  Tensor inv_filter_norm;  // [O]

  explicit operator bool() const { return static_cast<bool>(kept); }
};

// Where the statistics of a batch go: mean and biased variance [C], the running ones moved towards them, with the
// unbiased variance. Empty where they are not wanted.
struct BatchStatistics {
  Tensor mean, variance;
  Tensor running_mean, running_variance;
  double momentum;  // share of the new batch in the running statistics

  explicit operator bool() const { return static_cast<bool>(mean); }
};

// y = gamma (x - mean) / sqrt(variance + eps) + beta per channel, then max(0, y) with `relu`. Empty for none.
struct Normalization {
  Tensor gamma, beta, mean, variance;  // [C]
  double eps;
  bool relu;

  explicit operator bool() const { return static_cast<bool>(gamma); }
};

// A batch normalisation that follows an operator, whose backward gets the gradient behind it: dy stands for
// scale g + slope (y - mean) + offset, g being dy where the ReLU was open. Empty for none.
struct NormalizedGradient {
  Tensor y;       // what was normalised
  Normalization normalization;
  Tensor slopes;  // [2, C] slope and offset, from normalize_backward

  explicit operator bool() const { return static_cast<bool>(y); }
};

struct AngularSoftmaxOptions {
  Angular angular;
  double k;
  double margin;     // m >= 1
  double annealing;  // lambda >= 0: target logit = (lambda g + g_m) |x| / (1 + lambda)
  double radius;     // 0: logits are |x| g(theta); otherwise radius * g(theta), the feature norm divided out
  double eps;        // norm guard, as NormGuard with add = false
};

// What angular_softmax_forward leaves for its backward.
struct AngularSoftmaxSaved {
  Tensor cosine;           // [N, classes] s = cos(theta)
  Tensor cosine_gradient;  // [N, classes] dL/ds
  Tensor norm_gradient;    // [N] dL/d|x|, zero for a fixed radius
  Tensor inv_feature_norm; // [N]
  Tensor inv_weight_norm;  // [classes]
};

struct AdamOptions {
  double learning_rate, beta1, beta2, eps, weight_decay;
  double step;      // 1 for the first step
  bool decoupled;   // AdamW
};

struct SgdOptions {
  double learning_rate, momentum, weight_decay;
  bool nesterov;
  bool first;  // the velocity is the gradient itself
};

struct MemoryStats {
  std::uint64_t allocated;  // bytes of live storages
  std::uint64_t reserved;   // bytes held from the system, the cache included
  std::uint64_t peak;       // highest `allocated` since the last reset
  std::uint64_t storages;   // live storages
};

struct DeviceInfo {
  std::string library;  // whose kernels, with the version
  std::string isa;      // instruction set of our own loops
};

// How products of f32 matrices are computed, where the device has a choice: tf32 and bf16 round the operands to 10 and 7
// bits of mantissa and add up in f32.
enum class Precision : int { fp32 = 0, tf32 = 1, bf16 = 2 };

// Work of a device that was recorded once and runs again as a whole.
class CapturedGraph {
 public:
  virtual ~CapturedGraph() = default;
  // `scalars` has a number for each that the recorded operators took as scalars, in their order: the annealing of an
  // angular softmax forward, the seed of a dropout.
  virtual void replay(const std::vector<double>& scalars) = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual DeviceInfo info() const = 0;
  virtual void set_matmul_precision(Precision) = 0;
  // Waits until everything asked for so far is done; throws what went wrong in it.
  virtual void synchronize() = 0;

  // From begin to end, operators are recorded instead of run. Tensors made meanwhile keep their memory for as long as
  // the graph lives, so that a replay writes them again. Host memory cannot be read or written meanwhile.
  virtual void begin_capture() = 0;
  virtual std::unique_ptr<CapturedGraph> end_capture() = 0;

  // Memory
  virtual std::shared_ptr<Storage> allocate(std::size_t bytes) = 0;
  virtual MemoryStats memory_stats() const = 0;
  virtual void reset_peak() = 0;
  virtual void release_cache() = 0;
  virtual void write(const void* host, const Tensor& to) = 0;
  virtual void read(const Tensor& from, void* host) = 0;
  virtual void copy(const Tensor& from, const Tensor& to) = 0;
  virtual void fill(double value, const Tensor& to) = 0;
  virtual void cast(const Tensor& from, const Tensor& to) = 0;
  virtual std::unique_ptr<ImageJob> image_batch(ImageBatch batch) = 0;

  // Convolution. weights also give the kernel size; backward passes take what they need and no more.
  virtual void conv2d_forward(const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& y,
                              const ConvGeometry&, const Normalization& of_y) = 0;
  virtual void conv2d_backward_data(const Tensor& dy, const Tensor& w, const Tensor& dx, const ConvGeometry&) = 0;
  virtual void conv2d_backward_weights(const Tensor& x, const Tensor& dy, const Tensor& dw, const Tensor& dbias,
                                       const ConvGeometry&) = 0;
  // Milliseconds of the library's bare forward, backward-data and backward-weights passes, three numbers a repeat.
  virtual std::vector<double> benchmark_convolution(const Tensor& x, const Tensor& w, const Tensor& y,
                                                    const ConvGeometry&, int repeats) = 0;

  // SphereConv: y = g(theta) + bias. k: empty, [1] or [O]. `saved` is empty where there will be no backward. What
  // follows on y can come with it: its statistics, or a normalisation that replaces it. Absent gradients (dx, dw, dk,
  // dbias) are not computed.
  virtual void sphere_conv2d_forward(const Tensor& x, const Tensor& w, const Tensor& k, const Tensor& bias,
                                     const Tensor& y, const SphereSaved&, const ConvGeometry&, const SphereOptions&,
                                     const BatchStatistics& of_y, const Normalization&) = 0;
  virtual void sphere_conv2d_backward(const Tensor& x, const Tensor& w, const Tensor& k, const SphereSaved&,
                                      const Tensor& dy, const NormalizedGradient&, const Tensor& dx, const Tensor& dw,
                                      const Tensor& dk, const Tensor& dbias, const ConvGeometry&,
                                      const SphereOptions&) = 0;

  // c = op(a) op(b) (+ bias over the last axis); a, b, c of rank 2.
  virtual void matmul(const Tensor& a, const Tensor& b, const Tensor& bias, const Tensor& c, bool transpose_a,
                      bool transpose_b) = 0;

  // Pooling. max_pool2d_forward returns what its backward needs (empty unless `training`).
  virtual Tensor max_pool2d_forward(const Tensor& x, const Tensor& y, const Window&, bool training) = 0;
  virtual void max_pool2d_backward(const Tensor& dy, const Tensor& workspace, const Tensor& dx, const Window&) = 0;
  virtual void avg_pool2d_forward(const Tensor& x, const Tensor& y, const Window&, bool count_padding) = 0;
  virtual void avg_pool2d_backward(const Tensor& dy, const Tensor& dx, const Window&, bool count_padding) = 0;
  virtual void global_avg_pool2d_forward(const Tensor& x, const Tensor& y) = 0;  // [N,H,W,C] -> [N,C]
  virtual void global_avg_pool2d_backward(const Tensor& dy, const Tensor& dx) = 0;

  // Batch normalisation over all axes but the last, in training: statistics, then normalize by them. y may be x.
  virtual void batch_statistics(const Tensor& x, const BatchStatistics&) = 0;
  virtual void normalize(const Tensor& x, const Normalization&, const Tensor& y) = 0;
  // Through the statistics of the batch. Without dx the slopes are left for who makes it on the way.
  virtual void normalize_backward(const Tensor& x, const Normalization&, const Tensor& dy, const Tensor& dx,
                                  const Tensor& dgamma, const Tensor& dbeta, const Tensor& slopes) = 0;

  // y = scale * x + shift per channel (last axis); scale and shift may be absent.
  virtual void affine_forward(const Tensor& x, const Tensor& scale, const Tensor& shift, const Tensor& y) = 0;
  virtual void affine_backward(const Tensor& x, const Tensor& scale, const Tensor& dy, const Tensor& dx,
                               const Tensor& dscale, const Tensor& dshift) = 0;

  // Elementwise
  virtual void relu_forward(const Tensor& x, const Tensor& y) = 0;
  virtual void relu_backward(const Tensor& y, const Tensor& dy, const Tensor& dx) = 0;
  virtual void add(const Tensor& a, const Tensor& b, const Tensor& out) = 0;  // out may be a or b
  virtual void scale(const Tensor& x, double factor, const Tensor& out) = 0;  // out may be x
  virtual void scale_by(const Tensor& x, const Tensor& factor, const Tensor& out) = 0;  // factor has one element
  virtual void sum(const Tensor& x, const Tensor& out) = 0;                             // out has one element
  // k = softplus(p), or |p| + 0.05 as in the authors' code
  virtual void positive_forward(const Tensor& p, const Tensor& k, Positive) = 0;
  virtual void positive_backward(const Tensor& p, const Tensor& dk, const Tensor& dp, Positive) = 0;
  // Copies `channels` channels; source and target start at their own first channel. Other axes agree.
  virtual void copy_channels(const Tensor& from, std::int64_t from_channel, const Tensor& to, std::int64_t to_channel,
                             std::int64_t channels) = 0;
  // Counter-based: the same seed gives the same mask, so backward is this function on dy.
  virtual void dropout(const Tensor& x, const Tensor& y, double probability, std::uint64_t seed) = 0;

  // Losses: mean over the batch. loss and theta have one element.
  virtual void softmax_cross_entropy(const Tensor& logits, const Tensor& labels, double label_smoothing,
                                     const Tensor& loss, const Tensor& dlogits) = 0;
  // logits: margin-free; theta: mean angle of the true class in radians.
  virtual void angular_softmax_forward(const Tensor& x, const Tensor& w, const Tensor& labels, const Tensor& loss,
                                       const Tensor& logits, const Tensor& theta, const AngularSoftmaxSaved&,
                                       const AngularSoftmaxOptions&) = 0;
  virtual void angular_softmax_backward(const Tensor& x, const Tensor& w, const AngularSoftmaxSaved&,
                                        const Tensor& dloss, const Tensor& dx, const Tensor& dw) = 0;
  // ||W W^T - I||_F^2 over the rows of w flattened to [O, rest]; loss and its gradient in one.
  virtual void orthogonality(const Tensor& w, bool normalized, double eps, const Tensor& loss, const Tensor& dw) = 0;
  // correct[0] = number of rows whose label is among the `top` largest logits
  virtual void count_correct(const Tensor& logits, const Tensor& labels, int top, const Tensor& correct) = 0;

  // Optimisers, every parameter of a group in one call. Vectors have one entry a parameter.
  virtual void adam_step(const std::vector<Tensor>& parameters, const std::vector<Tensor>& gradients,
                         const std::vector<Tensor>& first_moments, const std::vector<Tensor>& second_moments,
                         const AdamOptions&) = 0;
  virtual void sgd_step(const std::vector<Tensor>& parameters, const std::vector<Tensor>& gradients,
                        const std::vector<Tensor>& velocities, const SgdOptions&) = 0;
  // out[0] = sqrt of the sum of squares over all tensors
  virtual void global_norm(const std::vector<Tensor>& tensors, const Tensor& out) = 0;
};

}  // namespace sn

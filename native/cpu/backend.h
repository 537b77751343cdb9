// The CPU device: oneDNN for convolution, pooling and matrix products, our OpenMP loops for everything that is
// linear in its operands. Each operator family lives in the file of its name.
#pragma once

#include <memory>

#include "core/backend.h"
#include "core/allocator.h"
#include "cpu/kernels/kernels.h"

namespace sn::cpu {

class Convolutions;  // by shape (cpu/convolution.h)
struct DnnlState;    // engine, stream (cpu/dnnl.h)
struct FilterCache;  // what is derived from filters (cpu/filter_cache.h)

class CpuBackend final : public Backend {
 public:
  CpuBackend();
  ~CpuBackend() override;

  DeviceInfo info() const override;
  void set_matmul_precision(Precision) override {}
  void synchronize() override {}
  void begin_capture() override;
  std::unique_ptr<CapturedGraph> end_capture() override;

  std::shared_ptr<Storage> allocate(std::size_t bytes) override;
  MemoryStats memory_stats() const override { return allocator_->stats(); }
  void reset_peak() override { allocator_->reset_peak(); }
  void release_cache() override { allocator_->release_cache(); }
  void write(const void* host, const Tensor& to) override;
  void read(const Tensor& from, void* host) override;
  void copy(const Tensor& from, const Tensor& to) override;
  void fill(double value, const Tensor& to) override;
  void cast(const Tensor& from, const Tensor& to) override;
  std::unique_ptr<ImageJob> image_batch(ImageBatch batch) override;

  void conv2d_forward(const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& y, const ConvGeometry&,
                      const Normalization& of_y) override;
  void conv2d_backward_data(const Tensor& dy, const Tensor& w, const Tensor& dx, const ConvGeometry&) override;
  void conv2d_backward_weights(const Tensor& x, const Tensor& dy, const Tensor& dw, const Tensor& dbias,
                               const ConvGeometry&) override;
  std::vector<double> benchmark_convolution(const Tensor& x, const Tensor& w, const Tensor& y, const ConvGeometry&,
                                            int repeats) override;

  void sphere_conv2d_forward(const Tensor& x, const Tensor& w, const Tensor& k, const Tensor& bias, const Tensor& y,
                             const SphereSaved&, const ConvGeometry&, const SphereOptions&, const BatchStatistics& of_y,
                             const Normalization&) override;
  void sphere_conv2d_backward(const Tensor& x, const Tensor& w, const Tensor& k, const SphereSaved&, const Tensor& dy,
                              const NormalizedGradient&, const Tensor& dx, const Tensor& dw, const Tensor& dk,
                              const Tensor& dbias, const ConvGeometry&, const SphereOptions&) override;

  void matmul(const Tensor& a, const Tensor& b, const Tensor& bias, const Tensor& c, bool transpose_a,
              bool transpose_b) override;

  Tensor max_pool2d_forward(const Tensor& x, const Tensor& y, const Window&, bool training) override;
  void max_pool2d_backward(const Tensor& dy, const Tensor& workspace, const Tensor& dx, const Window&) override;
  void avg_pool2d_forward(const Tensor& x, const Tensor& y, const Window&, bool count_padding) override;
  void avg_pool2d_backward(const Tensor& dy, const Tensor& dx, const Window&, bool count_padding) override;
  void global_avg_pool2d_forward(const Tensor& x, const Tensor& y) override;
  void global_avg_pool2d_backward(const Tensor& dy, const Tensor& dx) override;

  void batch_statistics(const Tensor& x, const BatchStatistics&) override;
  void normalize(const Tensor& x, const Normalization&, const Tensor& y) override;
  void normalize_backward(const Tensor& x, const Normalization&, const Tensor& dy, const Tensor& dx,
                          const Tensor& dgamma, const Tensor& dbeta, const Tensor& slopes) override;

  void affine_forward(const Tensor& x, const Tensor& scale, const Tensor& shift, const Tensor& y) override;
  void affine_backward(const Tensor& x, const Tensor& scale, const Tensor& dy, const Tensor& dx, const Tensor& dscale,
                       const Tensor& dshift) override;

  void relu_forward(const Tensor& x, const Tensor& y) override;
  void relu_backward(const Tensor& y, const Tensor& dy, const Tensor& dx) override;
  void add(const Tensor& a, const Tensor& b, const Tensor& out) override;
  void scale(const Tensor& x, double factor, const Tensor& out) override;
  void scale_by(const Tensor& x, const Tensor& factor, const Tensor& out) override;
  void sum(const Tensor& x, const Tensor& out) override;
  void positive_forward(const Tensor& p, const Tensor& k, Positive) override;
  void positive_backward(const Tensor& p, const Tensor& dk, const Tensor& dp, Positive) override;
  void copy_channels(const Tensor& from, std::int64_t from_channel, const Tensor& to, std::int64_t to_channel,
                     std::int64_t channels) override;
  void dropout(const Tensor& x, const Tensor& y, double probability, std::uint64_t seed) override;

  void softmax_cross_entropy(const Tensor& logits, const Tensor& labels, double label_smoothing, const Tensor& loss,
                             const Tensor& dlogits) override;
  void angular_softmax_forward(const Tensor& x, const Tensor& w, const Tensor& labels, const Tensor& loss,
                               const Tensor& logits, const Tensor& theta, const AngularSoftmaxSaved&,
                               const AngularSoftmaxOptions&) override;
  void angular_softmax_backward(const Tensor& x, const Tensor& w, const AngularSoftmaxSaved&, const Tensor& dloss,
                                const Tensor& dx, const Tensor& dw) override;
  void orthogonality(const Tensor& w, bool normalized, double eps, const Tensor& loss, const Tensor& dw) override;
  void count_correct(const Tensor& logits, const Tensor& labels, int top, const Tensor& correct) override;

  void adam_step(const std::vector<Tensor>& parameters, const std::vector<Tensor>& gradients,
                 const std::vector<Tensor>& first_moments, const std::vector<Tensor>& second_moments,
                 const AdamOptions&) override;
  void sgd_step(const std::vector<Tensor>& parameters, const std::vector<Tensor>& gradients,
                const std::vector<Tensor>& velocities, const SgdOptions&) override;
  void global_norm(const std::vector<Tensor>& tensors, const Tensor& out) override;

 private:
  // A tensor for the length of one operator.
  Tensor scratch(DType dtype, const Shape& shape);
  const FilterCache& unit_filters(const Tensor& w, const NormGuard& guard);

  std::shared_ptr<Allocator> allocator_;
  std::unique_ptr<DnnlState> dnnl_;
  const Kernels& kernels_;
  std::unique_ptr<Convolutions> convolutions_;
};

}  // namespace sn::cpu

// The CUDA device: cuBLAS for products, our kernels for the rest. Each operator family lives in the .cu file of its
// name. Everything is put on one compute stream in the order of the calls, so that memory is free for the next operator
// as soon as its owner lets go of it; nothing waits but read() and synchronize().
#pragma once

#include <memory>

#include "core/allocator.h"
#include "core/backend.h"
#include "cuda/error.h"
#include "cuda/gemm.h"
#include "cuda/dynamic_scalar.h"

namespace sn::cuda {

struct Capture;      // a graph in the making (cuda/graph.cpp)
class UploadSlots;   // pinned staging for images (cuda/images.cu)
struct FilterPack;   // what is derived from filters (cuda/filters.h)
class TileSize;      // of convolutions (cuda/patches.h)

struct SphereForward;   // the tensors of SphereConv's passes (cuda/sphere_conv2d.cu)
struct SphereBackward;

class CudaBackend final : public Backend {
 public:
  CudaBackend();
  ~CudaBackend() override;

  DeviceInfo info() const override;
  void set_matmul_precision(Precision precision) override { precision_ = precision; }
  void synchronize() override;
  void begin_capture() override;
  std::unique_ptr<CapturedGraph> end_capture() override;

  std::shared_ptr<Storage> allocate(std::size_t bytes) override;
  MemoryStats memory_stats() const override;
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
  // A tensor for the length of one operator: later operators may take its memory, they run after it.
  Tensor scratch(DType dtype, const Shape& shape);
  // A number that replays of a graph being captured will be given anew.
  DynamicScalar dynamic_scalar(double value);
  // Another number for each capture, 0 outside: what is derived from tensors is made anew within each.
  std::uint64_t capture_id() const;
  // Throws where the operator cannot be recorded.
  void require_no_capture(const char* op) const;

  // The filters [O, kH, kW, C / groups] in the form that products take, made once for every change of them.
  template <typename Operand>
  const FilterPack& packed_filters(const Tensor& w, int padded, const NormGuard& guard);
  TileSize tile_size() const;
  template <typename T>
  void conv2d_forward_as(const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& y, const ConvGeometry&);
  template <typename T>
  void conv2d_backward_data_as(const Tensor& dy, const Tensor& w, const Tensor& dx, const ConvGeometry&);
  template <typename T>
  void conv2d_backward_weights_as(const Tensor& x, const Tensor& dy, const Tensor& dw, const ConvGeometry&);
  template <typename Operand>
  void sphere_forward_as(const SphereForward&, const ConvGeometry&, const SphereOptions&);
  template <typename Operand>
  void sphere_backward_as(const SphereBackward&, const ConvGeometry&, const SphereOptions&);
  // The gradient before a normalisation, from dy, that behind it.
  void normalized_gradient(const NormalizedGradient&, const Tensor& dy, const Tensor& dx);

  // Products of f32 operands as set_matmul_precision() asked for; those of losses are always fp32.
  Precision precision_ = Precision::tf32;

  int multiprocessors_ = 0;
  std::size_t l2_bytes_ = 0;
  std::string name_;

  std::shared_ptr<Allocator> allocator_;  // a graph's own while one is captured
  cudaStream_t stream_ = nullptr;
  std::unique_ptr<Gemm> gemm_;
  void* gemm_workspace_ = nullptr;
  std::unique_ptr<UploadSlots> uploads_;

  std::shared_ptr<MemorySource> memory_;
  std::vector<std::weak_ptr<Allocator>> pools_;  // of captured graphs, for the statistics
  std::unique_ptr<Capture> capture_;
  std::uint64_t captures_ = 0;
};

}  // namespace sn::cuda

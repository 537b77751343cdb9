// CUDA graphs. What is captured has memory of its own: a pool that nothing else takes from, so that a replay finds its
// intermediate results' places free.
#include "cuda/capture.h"

#include <algorithm>
#include <string>

#include "core/error.h"

namespace sn::cuda {
namespace {

class CudaGraph final : public CapturedGraph {
 public:
  CudaGraph(cudaGraphExec_t instance, cudaStream_t stream, std::shared_ptr<Allocator> pool,
            std::shared_ptr<Storage> slots, int scalars)
      : instance_(instance), stream_(stream), pool_(std::move(pool)), slots_(std::move(slots)), scalars_(scalars) {}
  ~CudaGraph() override {
    cudaDeviceSynchronize();  // it may be running; its stream may be gone
    cudaGraphExecDestroy(instance_);
    pool_->release_cache();  // what outlives the graph keeps its own blocks only
  }

  void replay(const std::vector<double>& scalars) override {
    if (scalars.size() != static_cast<std::size_t>(scalars_)) {
      throw Error(ErrorCode::option, "scalars",
                  "the graph takes " + std::to_string(scalars_) + " dynamic scalars, but got " +
                      std::to_string(scalars.size()));
    }
    if (!scalars.empty()) {
      const std::size_t bytes = scalars.size() * sizeof(double);
      check(cudaMemcpyAsync(slots_->data(), scalars.data(), bytes, cudaMemcpyHostToDevice, stream_), "replay");
    }
    check(cudaGraphLaunch(instance_, stream_), "replay");
  }

 private:
  cudaGraphExec_t instance_;
  cudaStream_t stream_;
  std::shared_ptr<Allocator> pool_;
  std::shared_ptr<Storage> slots_;
  int scalars_;
};

}  // namespace

DynamicScalar CudaBackend::dynamic_scalar(double value) {
  if (!capture_) return {value, nullptr};
  if (capture_->used == Capture::most_scalars) {
    throw Error(ErrorCode::device, "cudaGraph",
                "a captured graph takes at most " + std::to_string(Capture::most_scalars) + " dynamic scalars");
  }
  return {value, static_cast<const double*>(capture_->slots->data()) + capture_->used++};
}

std::uint64_t CudaBackend::capture_id() const { return capture_ ? capture_->id : 0; }

void CudaBackend::require_no_capture(const char* op) const {
  if (!capture_) return;
  throw Error(ErrorCode::device, op,
              std::string(op) +
                  " needs the host and cannot be captured into a CUDA graph; do it outside the captured step");
}

void CudaBackend::begin_capture() {
  require_no_capture("beginCapture");
  auto capture = std::make_unique<Capture>();
  capture->id = ++captures_;
  capture->usual = allocator_;
  capture->slots = allocate(Capture::most_scalars * sizeof(double));
  // Relaxed: memory may be allocated meanwhile, and other threads may prepare batches.
  check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed), "beginCapture");
  allocator_ = std::make_shared<Allocator>(memory_, Reuse::pinned);
  // Those of graphs that are gone.
  const auto expired = [](const std::weak_ptr<Allocator>& pool) { return pool.expired(); };
  pools_.erase(std::remove_if(pools_.begin(), pools_.end(), expired), pools_.end());
  pools_.push_back(allocator_);
  capture_ = std::move(capture);
}

std::unique_ptr<CapturedGraph> CudaBackend::end_capture() {
  if (!capture_) throw Error(ErrorCode::device, "endCapture", "nothing is being captured");
  const auto capture = std::move(capture_);
  auto pool = std::move(allocator_);
  allocator_ = capture->usual;
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(stream_, &graph), "endCapture");
  cudaGraphExec_t instance = nullptr;
  const cudaError_t code = cudaGraphInstantiate(&instance, graph, 0);
  cudaGraphDestroy(graph);
  check(code, "endCapture");
  return std::make_unique<CudaGraph>(instance, stream_, std::move(pool), capture->slots, capture->used);
}

}  // namespace sn::cuda

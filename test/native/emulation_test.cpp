// The emulated device refuses what a GPU would get wrong; and what the CUDA backend does beside operators.
#include <malloc.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "core/error.h"
#include "cuda/convolution/convolution.h"
#include "cuda/device.h"
#include "cuda/emulation/device.h"
#include "cuda/launch.h"
#include "cuda/primitives.h"

using namespace sn::cuda;

namespace {

struct Device {
  Device() {
    emulation::reset();
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    void* memory = nullptr;
    cudaMalloc(&memory, sizeof(float) * count);
    data = static_cast<float*>(memory);
  }
  ~Device() {
    emulation::reset();
    cudaStreamDestroy(stream);
    cudaFree(data);
  }

  Launch shape(unsigned grid, unsigned block, std::size_t shared = 0) const {
    return {"test", stream, dim3(grid), dim3(block), shared};
  }
  // What went wrong in the kernel, or nothing.
  std::string failure() const { return cudaStreamSynchronize(stream) == cudaSuccess ? "" : emulation::last_failure(); }

  static constexpr int count = 256;
  cudaStream_t stream = nullptr;
  float* data = nullptr;
};

bool mentions(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

template <typename Body>
bool refused(Body&& body) {
  try {
    body();
    return false;
  } catch (const sn::Error& error) {
    return error.code() == sn::ErrorCode::device;
  }
}

void reverse_kernel(float* data) {
  SN_SHARED(float, values, 64);
  values[threadIdx.x] = data[threadIdx.x];
  sync_threads();
  data[threadIdx.x] = values[63 - threadIdx.x];
}

void early_exit_kernel(float* data) {
  if (threadIdx.x == 5) return;
  sync_threads();
  data[threadIdx.x] = 0;
}

void two_barriers_kernel(float* data) {
  if (threadIdx.x < 32) {
    sync_threads();
  } else {
    sync_threads();
  }
  data[threadIdx.x] = 0;
}

void partial_warp_kernel(float* data) {
  if (threadIdx.x < 16) data[threadIdx.x] = warp_sum(1.0f);
}

void overrun_kernel(float* data) {
  SN_SHARED(float, values, 32);
  values[threadIdx.x] = data[threadIdx.x];
}

void unwritten_kernel(float* data) {
  SN_SHARED(float, values, 32);
  data[threadIdx.x] = values[threadIdx.x];
}

void dynamic_kernel(float* data) {
  SN_DYNAMIC_SHARED(float, values);
  values[threadIdx.x] = data[threadIdx.x];
  sync_threads();
  data[threadIdx.x] = values[31 - threadIdx.x];
}

void greedy_kernel(float* data) {
  SN_SHARED(double, values, 8192);
  values[threadIdx.x] = 0;
  data[threadIdx.x] = 0;
}

void sum_kernel(float* data) { data[threadIdx.x] = warp_sum(static_cast<float>(threadIdx.x)); }

void exchange_kernel(float* data) {
  const int lane = lane_id();
  for (int round = 0; round < 100; ++round) {
    const float neighbour = shuffle_xor(static_cast<float>(lane + round), 1);
    if (neighbour != static_cast<float>((lane ^ 1) + round)) data[threadIdx.x] = -1;
  }
}

void add_one_kernel(float* data) { data[threadIdx.x] += 1; }

std::vector<float> read(const Device& device, int count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  cudaMemcpyAsync(values.data(), device.data, values.size() * sizeof(float), cudaMemcpyDeviceToHost, device.stream);
  return values;
}

void write(const Device& device, const std::vector<float>& values) {
  cudaMemcpyAsync(device.data, values.data(), values.size() * sizeof(float), cudaMemcpyHostToDevice, device.stream);
}

std::vector<float> rising(int count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) values[static_cast<std::size_t>(i)] = static_cast<float>(i);
  return values;
}

}  // namespace

SN_TEST(emulated_barriers, "barriers and shared memory work across fibers") {
  Device device;
  write(device, rising(64));
  launch(device.shape(1, 64), reverse_kernel, device.data);
  SN_CHECK(device.failure().empty());
  const auto values = read(device, 64);
  SN_CHECK(values[0] == 63 && values[63] == 0);
}

SN_TEST(emulated_warps, "sums and exchanges within a warp") {
  Device device;
  write(device, rising(64));
  launch(device.shape(1, 64), sum_kernel, device.data);
  auto values = read(device, 64);
  SN_CHECK(values[0] == 496 && values[31] == 496 && values[32] == 1520);
  launch(device.shape(1, 64), exchange_kernel, device.data);
  values = read(device, 64);
  SN_CHECK(values[0] == 496 && device.failure().empty());
}

SN_TEST(emulated_divergence, "divergent barriers and exchanges are refused") {
  {
    Device device;
    launch(device.shape(1, 64), early_exit_kernel, device.data);
    SN_CHECK(mentions(device.failure(), "end before the barrier"));
  }
  {
    Device device;
    launch(device.shape(1, 64), two_barriers_kernel, device.data);
    SN_CHECK(mentions(device.failure(), "divergent barrier"));
  }
  Device device;
  launch(device.shape(1, 32), partial_warp_kernel, device.data);
  SN_CHECK(mentions(device.failure(), "divergent warp"));
}

SN_TEST(emulated_shared, "shared memory is bounds-checked, limited and starts as NaN") {
  {
    Device device;
    launch(device.shape(1, 64), overrun_kernel, device.data);
    SN_CHECK(mentions(device.failure(), "shared memory overrun: index 32 of 32"));
  }
  {
    Device device;
    write(device, rising(32));
    launch(device.shape(1, 32, 32 * sizeof(float)), dynamic_kernel, device.data);
    SN_CHECK(read(device, 1)[0] == 31);
    launch(device.shape(1, 32, 16 * sizeof(float)), dynamic_kernel, device.data);
    SN_CHECK(mentions(device.failure(), "shared memory overrun: index 16 of 16"));
  }
  {
    Device device;
    launch(device.shape(1, 32), greedy_kernel, device.data);
    SN_CHECK(mentions(device.failure(), "bytes of shared memory"));
  }
  Device device;
  launch(device.shape(1, 32), unwritten_kernel, device.data);
  SN_CHECK(std::isnan(read(device, 1)[0]));
}

SN_TEST(emulated_launches, "launches that sm_80 would refuse are refused") {
  Device device;
  SN_CHECK(refused([&] { launch(device.shape(0, 32), add_one_kernel, device.data); }));
  SN_CHECK(refused([&] { launch(device.shape(1, 2048), add_one_kernel, device.data); }));
  SN_CHECK(refused([&] { launch(device.shape(1, 40), add_one_kernel, device.data); }));
  SN_CHECK(refused([&] { launch(device.shape(1, 32, 64 << 10), add_one_kernel, device.data); }));
  SN_CHECK(device.failure().empty());
}

SN_TEST(emulated_faults, "after a fault every call reports it") {
  Device device;
  launch(device.shape(1, 64), early_exit_kernel, device.data);
  SN_CHECK(!device.failure().empty());
  SN_CHECK(refused([&] { launch(device.shape(1, 32), add_one_kernel, device.data); }));
}

SN_TEST(emulated_streams, "work waits for a synchronisation, and arguments were taken at the call") {
  Device device;
  {
    const std::vector<float> temporary(32, 7.0f);
    write(device, temporary);
  }
  launch(device.shape(1, 32), add_one_kernel, device.data);
  SN_CHECK(std::isnan(device.data[0]));  // device memory is host memory here: nothing has run yet
  SN_CHECK(read(device, 32)[31] == 8);
}

SN_TEST(emulated_pointers, "copies outside device memory are refused") {
  Device device;
  float host = 0;
  SN_CHECK(cudaMemcpyAsync(&host, &host, 4, cudaMemcpyDeviceToDevice, device.stream) != cudaSuccess);
  SN_CHECK(cudaMemcpyAsync(device.data + 250, device.data, 64, cudaMemcpyDeviceToDevice, device.stream) != cudaSuccess);
}

SN_TEST(emulated_graphs, "a captured graph runs at each launch and not before") {
  Device device;
  write(device, std::vector<float>(32, 0.0f));
  cudaStreamBeginCapture(device.stream, cudaStreamCaptureModeRelaxed);
  launch(device.shape(1, 32), add_one_kernel, device.data);
  cudaGraph_t graph = nullptr;
  cudaStreamEndCapture(device.stream, &graph);
  cudaGraphExec_t instance = nullptr;
  cudaGraphInstantiate(&instance, graph, 0);
  cudaGraphDestroy(graph);
  SN_CHECK(read(device, 1)[0] == 0);
  for (int i = 0; i < 3; ++i) cudaGraphLaunch(instance, device.stream);
  SN_CHECK(read(device, 1)[0] == 3);
  cudaGraphExecDestroy(instance);
}

namespace {

using sn::Backend;
using sn::DType;
using sn::Shape;
using sn::Tensor;

std::unique_ptr<Backend> make_device() {
  emulation::reset();
  return sn::cuda::device().make_backend();
}

Tensor tensor_of(Backend& device, const Shape& shape, const std::vector<float>& values) {
  Tensor tensor{nullptr, DType::f32, shape};
  tensor.storage = device.allocate(tensor.bytes());
  if (!values.empty()) device.write(values.data(), tensor);
  return tensor;
}

std::vector<float> values_of(Backend& device, const Tensor& tensor) {
  std::vector<float> values(static_cast<std::size_t>(tensor.count()));
  device.read(tensor, values.data());
  return values;
}

// Numbers of both signs, another sequence for each seed.
std::vector<float> mixed(std::size_t count, int seed) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = std::sin(static_cast<float>(i * 7 + 1) * static_cast<float>(seed));
  return values;
}

}  // namespace

SN_TEST(cuda_capture_ends, "a backend with an unfinished capture can be destroyed") {
  const auto device = make_device();
  device->begin_capture();
  const Tensor x = tensor_of(*device, {4}, {});
  device->relu_forward(x, x);
}

SN_TEST(cuda_pools, "captured graphs that are gone leave nothing behind") {
  const auto device = make_device();
  const auto capture = [&] {
    device->begin_capture();
    device->end_capture();
  };
  for (int i = 0; i < 100; ++i) capture();
  const std::size_t before = mallinfo2().uordblks;
  for (int i = 0; i < 2000; ++i) capture();
  SN_CHECK_BELOW(static_cast<double>(mallinfo2().uordblks) - static_cast<double>(before), 32 << 10);
}

SN_TEST(cuda_epilogue, "an epilogue with a residual is its steps, one by one") {
  const auto owner = make_device();
  Backend& device = *owner;
  for (const std::int64_t channels : {3, 8}) {
    const Shape shape{2, 3, 5, channels};
    const auto count = static_cast<std::size_t>(shape.count());
    const auto like = [&](int seed) { return tensor_of(device, shape, mixed(count, seed)); };
    const auto channel = [&](int seed) { return tensor_of(device, {channels}, mixed(std::size_t(channels), seed)); };
    const Tensor x = like(1), residual = like(2), dy = like(3), y = like(4), steps = like(5);
    const sn::Normalization normalization{channel(6), channel(7), channel(8), channel(9), 1e-5};
    const sn::BatchStatistics statistics{normalization.mean, normalization.variance, channel(10), channel(11), 0.1};
    const auto same = [&](const Tensor& a, const Tensor& b) { return values_of(device, a) == values_of(device, b); };

    device.batch_norm_forward(x, y, {statistics, normalization, residual, {}, true});
    device.batch_norm_forward(x, steps, {statistics, normalization, {}, {}, false});
    device.add(steps, residual, steps);
    device.relu_forward(steps, steps);
    SN_CHECK(same(y, steps));
    device.batch_norm_forward(x, y, {{}, {}, residual, {}, true});
    device.add(x, residual, steps);
    device.relu_forward(steps, steps);
    SN_CHECK(same(y, steps));
    device.batch_norm_forward(x, y, {{}, {}, {}, {}, true});
    device.relu_forward(x, steps);
    SN_CHECK(same(y, steps));

    const Tensor dx = like(1), dresidual = like(1), masked = like(1), expected = like(1);
    const Tensor dgamma = channel(1), dbeta = channel(1), gamma_steps = channel(1), beta_steps = channel(1);
    device.batch_norm_forward(x, y, {{}, normalization, residual, {}, true});
    device.relu_backward(y, dy, masked);
    device.batch_norm_backward(masked, expected, {x, normalization, {}, gamma_steps, beta_steps, {}, false});
    device.batch_norm_backward(dy, dx, {x, normalization, residual, dgamma, dbeta, dresidual, true});
    SN_CHECK(same(dx, expected) && same(dresidual, masked) && same(dgamma, gamma_steps) && same(dbeta, beta_steps));
    device.batch_norm_backward(dy, dx, {x, normalization, residual, dgamma, dbeta, {}, true});
    SN_CHECK(same(dx, expected) && same(dgamma, gamma_steps) && same(dbeta, beta_steps));
    device.batch_norm_backward(dy, dx, {x, normalization, residual, dgamma, dbeta, dresidual, false});
    SN_CHECK(same(dresidual, dy));
  }
}

SN_TEST(cuda_convolution_choice, "convolutions are given to an algorithm, with a reason") {
  sn::ConvGeometry geometry{{3, 3, 2, 2, 1, 1, 1, 1}, 1};
  sn::cuda::ConvProblem problem{"conv2d", {1, 8, 8, 4}, {4, 3, 3, 4},        {1, 4, 4, 4},
                                geometry, DType::f32,   sn::Precision::tf32, {}};
  const auto reason = [&](ConvPass pass) { return std::string(choose_algorithm(problem, pass).reason); };
  SN_CHECK(std::strcmp(choose_algorithm(problem, ConvPass::forward)->name(), "patch GEMM") == 0);
  SN_CHECK(mentions(reason(ConvPass::backward_data), "strided"));
  SN_CHECK(!mentions(reason(ConvPass::forward), "strided"));
  problem.geometry.groups = 2;
  SN_CHECK(mentions(reason(ConvPass::forward), "groups"));
  problem.dtype = DType::f64;
  SN_CHECK(mentions(reason(ConvPass::forward), "float64"));
}

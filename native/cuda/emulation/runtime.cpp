// The runtime's functions on host memory. See emulation/device.h. One lock over all of it: the emulation is for
// correctness.
#include <cstdlib>
#include <deque>
#include <map>
#include <mutex>
#include <vector>

#include "cuda/emulation/device.h"

namespace sn::cuda::emulation {

struct Work {
  std::string name;
  std::function<void()> run;
};

struct Graph {
  std::vector<Work> work;
};

struct Stream {
  std::deque<Work> queue;
  std::uint64_t finished = 0;  // pieces of work
  Graph* capture = nullptr;

  std::uint64_t submitted() const { return finished + queue.size(); }
};

struct Event {
  Stream* stream = nullptr;
  std::uint64_t ticket = 0;
};

namespace {

std::recursive_mutex mutex;
using Lock = std::lock_guard<std::recursive_mutex>;

cudaError_t pending = cudaSuccess;
std::string failure;
std::vector<Stream*> streams;
std::map<const char*, std::size_t> device_memory, pinned_memory;
std::size_t device_bytes = 0;
constexpr std::size_t device_capacity = std::size_t{1} << 30;
constexpr std::size_t queue_limit = 4096;  // bounds what the arguments of waiting work hold

bool contains(const std::map<const char*, std::size_t>& ranges, const void* pointer, std::size_t bytes) {
  const char* first = static_cast<const char*>(pointer);
  auto after = ranges.upper_bound(first);
  if (after == ranges.begin()) return false;
  --after;
  return first + bytes <= after->first + after->second;
}

void run_one(Stream& stream) {
  Work work = std::move(stream.queue.front());
  stream.queue.pop_front();
  ++stream.finished;
  if (!failure.empty()) return;  // as after a fault: nothing runs any more
  try {
    work.run();
  } catch (const std::exception& error) {
    // For the next call that reports an error; the device is unusable from then on.
    pending = cudaErrorLaunchFailure;
    failure = work.name + ": " + error.what();
  }
}

void drain(Stream& stream, std::uint64_t ticket) {
  while (stream.finished < ticket && !stream.queue.empty()) run_one(stream);
}

void drain_all() {
  for (Stream* stream : streams) drain(*stream, stream->submitted());
}

cudaError_t status() { return failure.empty() ? cudaSuccess : cudaErrorLaunchFailure; }

cudaError_t refuse(cudaError_t error) {
  pending = error;
  return error;
}

}  // namespace

std::string last_failure() {
  Lock lock(mutex);
  return failure;
}

void reset() {
  Lock lock(mutex);
  for (Stream* stream : streams) stream->queue.clear();
  failure.clear();
  pending = cudaSuccess;
}

void submit(Stream* stream, std::string name, std::function<void()> work) {
  Lock lock(mutex);
  if (stream->capture != nullptr) {
    stream->capture->work.push_back({std::move(name), std::move(work)});
    return;
  }
  stream->queue.push_back({std::move(name), std::move(work)});
  if (stream->queue.size() > queue_limit) drain(*stream, stream->submitted());
}

}  // namespace sn::cuda::emulation

using namespace sn::cuda::emulation;

const char* cudaGetErrorString(cudaError_t error) {
  static thread_local std::string text;
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorLaunchFailure: text = last_failure(); return text.c_str();
    default: return "invalid argument";
  }
}

cudaError_t cudaGetLastError() {
  Lock lock(sn::cuda::emulation::mutex);
  const cudaError_t error = pending;
  pending = status();  // faults stay
  return error;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::strcpy(properties->name, "emulated on the host");
  properties->totalGlobalMem = device_capacity;
  properties->major = 8;
  properties->minor = 0;
  properties->multiProcessorCount = 2;
  properties->l2CacheSize = 256 << 10;  // small, so that tests cut their work into several tiles
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) { return cudaRuntimeGetVersion(version); }

cudaError_t cudaMalloc(void** pointer, std::size_t bytes) {
  Lock lock(sn::cuda::emulation::mutex);
  if (status() != cudaSuccess) return status();
  if (device_bytes + bytes > device_capacity) return refuse(cudaErrorMemoryAllocation);
#if defined(__SANITIZE_ADDRESS__)
  *pointer = std::malloc(bytes);  // its very end is watched
#else
  *pointer = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
#endif
  if (*pointer == nullptr) return refuse(cudaErrorMemoryAllocation);
  std::memset(*pointer, 0xff, bytes);  // NaN, so that use before a write shows
  device_memory[static_cast<char*>(*pointer)] = bytes;
  device_bytes += bytes;
  return cudaSuccess;
}

cudaError_t cudaFree(void* pointer) {
  Lock lock(sn::cuda::emulation::mutex);
  drain_all();
  auto found = device_memory.find(static_cast<char*>(pointer));
  if (found == device_memory.end()) return refuse(cudaErrorInvalidValue);
  device_bytes -= found->second;
  device_memory.erase(found);
  std::free(pointer);
  return status();
}

cudaError_t cudaHostAlloc(void** pointer, std::size_t bytes, unsigned) {
  Lock lock(sn::cuda::emulation::mutex);
  *pointer = std::malloc(bytes);
  if (*pointer == nullptr) return refuse(cudaErrorMemoryAllocation);
  pinned_memory[static_cast<char*>(*pointer)] = bytes;
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* pointer) {
  Lock lock(sn::cuda::emulation::mutex);
  drain_all();
  if (pinned_memory.erase(static_cast<char*>(pointer)) == 0) return refuse(cudaErrorInvalidValue);
  std::free(pointer);
  return status();
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  Lock lock(sn::cuda::emulation::mutex);
  const bool to_device = kind != cudaMemcpyDeviceToHost, from_device = kind != cudaMemcpyHostToDevice;
  if ((to_device && !contains(device_memory, to, bytes)) || (from_device && !contains(device_memory, from, bytes))) {
    return refuse(cudaErrorInvalidValue);
  }
  const void* host = to_device ? from : to;
  const bool pageable = kind != cudaMemcpyDeviceToDevice && !contains(pinned_memory, host, bytes);
  if (pageable && stream->capture != nullptr) return refuse(cudaErrorStreamCaptureUnsupported);
  if (pageable && to_device) {
    // The runtime has taken pageable memory in before it returns.
    std::vector<char> taken(static_cast<const char*>(from), static_cast<const char*>(from) + bytes);
    submit(stream, "copy", [to, taken = std::move(taken)] { std::memcpy(to, taken.data(), taken.size()); });
  } else {
    submit(stream, "copy", [to, from, bytes] { std::memmove(to, from, bytes); });
    if (pageable) drain(*stream, stream->submitted());
  }
  return status();
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  Lock lock(sn::cuda::emulation::mutex);
  *stream = new Stream();
  streams.push_back(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  Lock lock(sn::cuda::emulation::mutex);
  drain(*stream, stream->submitted());
  for (auto& each : streams) {
    if (each == stream) each = streams.back();
  }
  streams.pop_back();
  delete stream;
  return status();
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  Lock lock(sn::cuda::emulation::mutex);
  if (stream->capture != nullptr) return refuse(cudaErrorStreamCaptureUnsupported);
  drain(*stream, stream->submitted());
  return status();
}

cudaError_t cudaDeviceSynchronize() {
  Lock lock(sn::cuda::emulation::mutex);
  drain_all();
  return status();
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new Event();
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  Lock lock(sn::cuda::emulation::mutex);
  *event = {stream, stream->submitted()};
  return status();
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  Lock lock(sn::cuda::emulation::mutex);
  if (stream->capture != nullptr) return refuse(cudaErrorStreamCaptureUnsupported);
  if (event->stream == nullptr) return cudaSuccess;
  submit(stream, "wait", [other = event->stream, ticket = event->ticket] { drain(*other, ticket); });
  return status();
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  Lock lock(sn::cuda::emulation::mutex);
  if (stream->capture != nullptr) return refuse(cudaErrorStreamCaptureUnsupported);
  stream->capture = new Graph();
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  Lock lock(sn::cuda::emulation::mutex);
  if (stream->capture == nullptr) return refuse(cudaErrorInvalidValue);
  *graph = stream->capture;
  stream->capture = nullptr;
  return status();
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* instance, cudaGraph_t graph, unsigned long long) {
  *instance = new Graph(*graph);
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t instance, cudaStream_t stream) {
  Lock lock(sn::cuda::emulation::mutex);
  for (const Work& work : instance->work) submit(stream, work.name, work.run);
  return status();
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t instance) {
  Lock lock(sn::cuda::emulation::mutex);
  drain_all();
  delete instance;
  return cudaSuccess;
}

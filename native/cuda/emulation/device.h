// The emulated device. It keeps CUDA's contract rather than its convenience:
// - Streams are queues. What is put on one runs only when something waits for it (a synchronisation, an event that
//   another stream waits for), so that host memory freed too early, or a copy nobody waited for, shows.
// - The threads of a block are fibers. Each runs until it reaches a barrier or an exchange within its warp; a barrier
//   that some threads of the block never reach is an error, and so is one that they reach in different places.
// - Shared memory is fresh for every block, filled with NaN, bounds-checked and limited as on sm_80.
#pragma once

#include <cstring>
#include <functional>
#include <string>
#include <type_traits>

#include <cuda_runtime.h>

namespace sn::cuda::emulation {

constexpr int warp_size = 32;
constexpr std::size_t shared_limit = 48 << 10;  // without opting in to more

// Puts work on a stream. `name` is what errors call it.
void submit(Stream* stream, std::string name, std::function<void()> work);

// Why the device is unusable, or nothing.
std::string last_failure();
void reset();  // for tests of the emulation itself

struct LaunchShape {
  dim3 grid, block;
  std::size_t shared_bytes;
};

// cudaErrorInvalidConfiguration where sm_80 would refuse it.
cudaError_t check_launch(const LaunchShape& shape);

// Runs the grid now.
void run_grid(const LaunchShape& shape, const std::function<void()>& thread);

// Called from within a thread of a running block ------------------------------------------------------------------

// Where in the sources a barrier stands.
struct Site {
  const char* file;
  int line;
};

[[noreturn]] void fail_thread(const std::string& why);

void block_barrier(Site site);

// All lanes of the warp meet; each deposits up to 8 bytes and sees those of all. Returns the warp's 32 slots, valid
// until the lane's next exchange.
const std::uint64_t* warp_exchange(Site site, std::uint64_t value);
int lane();

void* block_shared(std::size_t bytes);     // a fresh piece of the block's shared memory, filled with NaN
void* dynamic_shared(std::size_t* bytes);  // what the launch asked for
std::uint64_t block_generation();          // another number for every block that runs

template <typename T>
class Shared {
 public:
  Shared(T* data, std::size_t count) : data_(data), count_(count) {}
  T& operator[](std::size_t i) const {
    if (i >= count_) {
      fail_thread("shared memory overrun: index " + std::to_string(i) + " of " + std::to_string(count_));
    }
    return data_[i];
  }

 private:
  T* data_;
  std::size_t count_;
};

// One static shared array of a kernel: made by the first thread of each block that gets there.
template <typename T, std::size_t count>
struct StaticShared {
  std::uint64_t generation;
  T* data;

  Shared<T> get() {
    if (generation != block_generation()) {
      data = static_cast<T*>(block_shared(count * sizeof(T)));
      generation = block_generation();
    }
    return {data, count};
  }
};

template <typename T>
Shared<T> typed_dynamic_shared() {
  std::size_t bytes = 0;
  void* data = dynamic_shared(&bytes);
  return {static_cast<T*>(data), bytes / sizeof(T)};
}

template <typename T>
std::uint64_t to_slot(T value) {
  static_assert(sizeof(T) <= sizeof(std::uint64_t));
  std::uint64_t slot = 0;
  std::memcpy(&slot, &value, sizeof(T));
  return slot;
}
template <typename T>
T from_slot(std::uint64_t slot) {
  T value;
  std::memcpy(&value, &slot, sizeof(T));
  return value;
}

}  // namespace sn::cuda::emulation

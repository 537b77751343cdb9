// Runs the threads of a block as fibers. See emulation/device.h.
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "cuda/emulation/device.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

thread_local uint3 threadIdx, blockIdx;
thread_local dim3 blockDim, gridDim;

// Saves the callee's registers on the stack, stores its pointer at *from and goes on where `to` was saved.
extern "C" void sn_emulation_switch(void** from, void* to);
asm(R"(
  .text
  .type sn_emulation_switch, @function
sn_emulation_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size sn_emulation_switch, .-sn_emulation_switch
)");

namespace sn::cuda::emulation {
namespace {

constexpr std::size_t stack_bytes = 256 << 10;  // touched as far as it is used
constexpr int max_threads = 1024;

class BlockRunner;
thread_local BlockRunner* current = nullptr;

class Fiber {
 public:
  Fiber() : stack_(mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0)) {
    if (stack_ == MAP_FAILED) throw std::runtime_error("no memory for the stack of an emulated thread");
  }
  ~Fiber() { munmap(stack_, stack_bytes); }
  Fiber(const Fiber&) = delete;

  // From the scheduler: runs `entry` from its start.
  void prepare(void (*entry)()) {
    auto* top = reinterpret_cast<void**>(static_cast<char*>(stack_) + stack_bytes);
    *--top = nullptr;  // keeps the stack aligned as after a call
    *--top = reinterpret_cast<void*>(entry);
    for (int registers = 0; registers < 6; ++registers) *--top = nullptr;
    pointer_ = top;
  }

  void enter(void** scheduler) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&scheduler_fake_, stack_, stack_bytes);
    sn_emulation_switch(scheduler, pointer_);
    __sanitizer_finish_switch_fiber(scheduler_fake_, nullptr, nullptr);
#else
    sn_emulation_switch(scheduler, pointer_);
#endif
  }

  // From the fiber: back to the scheduler, until it enters again.
  void leave(void* scheduler, [[maybe_unused]] bool for_good) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(for_good ? nullptr : &fake_, scheduler_bottom_, scheduler_size_);
    sn_emulation_switch(&pointer_, scheduler);
    arrived();
#else
    sn_emulation_switch(&pointer_, scheduler);
#endif
  }

  void arrived() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake_, &scheduler_bottom_, &scheduler_size_);
    fake_ = nullptr;
#endif
  }

 private:
  void* stack_;
  void* pointer_ = nullptr;
#if defined(__SANITIZE_ADDRESS__)
  void* scheduler_fake_ = nullptr;
  void* fake_ = nullptr;
  const void* scheduler_bottom_ = nullptr;
  std::size_t scheduler_size_ = 0;
#endif
};

enum class State { waiting_to_start, ready, at_barrier, in_exchange, done };

struct Thread {
  State state = State::waiting_to_start;
  Site site{};
  int fiber = -1;
  int exchanges = 0;
};

struct Warp {
  int arrived = 0;
  std::uint64_t slots[2][warp_size];  // of this exchange and the one before, which slower lanes may still read
};

std::string where(Site site) { return std::string(site.file) + ":" + std::to_string(site.line); }

// One per host thread, reused from block to block.
class BlockRunner {
 public:
  void run(const LaunchShape& shape, const std::function<void()>& body, unsigned block) {
    ::blockDim = shape.block;
    ::gridDim = shape.grid;
    ::blockIdx = {block % shape.grid.x, block / shape.grid.x % shape.grid.y, block / shape.grid.x / shape.grid.y};
    body_ = &body;
    shape_ = &shape;
    count_ = static_cast<int>(shape.block.x * shape.block.y * shape.block.z);
    threads_.assign(static_cast<std::size_t>(count_), Thread{});
    warps_.assign(static_cast<std::size_t>(count_ / warp_size), Warp{});
    error_.clear();
    generation_ = next_generation_.fetch_add(1);
    shared_.clear();
    shared_used_ = 0;
    dynamic_ = shape.shared_bytes > 0 ? block_shared_bytes(shape.shared_bytes) : nullptr;
    free_fibers_.clear();
    for (int i = static_cast<int>(fibers_.size()) - 1; i >= 0; --i) free_fibers_.push_back(i);
    current = this;
    schedule();
    current = nullptr;
    if (!error_.empty()) throw std::runtime_error(error_);
  }

  void barrier(Site site) { wait(State::at_barrier, site); }

  const std::uint64_t* exchange(Site site, std::uint64_t value) {
    Thread& self = thread(running_);
    Warp& warp = warps_[static_cast<std::size_t>(running_ / warp_size)];
    const int first = running_ / warp_size * warp_size;
    std::uint64_t* slots = warp.slots[self.exchanges++ % 2];
    slots[running_ - first] = value;
    if (++warp.arrived < warp_size) {
      wait(State::in_exchange, site);
      return slots;
    }
    warp.arrived = 0;
    for (int lane = first; lane < first + warp_size; ++lane) {
      if (lane == running_) continue;
      Thread& other = thread(lane);
      if (other.site.line != site.line || std::strcmp(other.site.file, site.file) != 0) {
        fail("divergent warp: lanes exchange values at " + where(other.site) + " and at " + where(site));
      }
      other.state = State::ready;
    }
    return slots;
  }

  // Ends the thread; entry() notes why.
  [[noreturn]] void fail(const std::string& why) { throw std::runtime_error(why); }

  int running() const { return running_; }
  std::uint64_t generation() const { return generation_; }
  const LaunchShape& shape() const { return *shape_; }
  void* dynamic() const { return dynamic_; }

  void* block_shared_bytes(std::size_t bytes) {
    shared_used_ += bytes;
    if (shared_used_ > shared_limit) {
      throw std::runtime_error("the block uses " + std::to_string(shared_used_) +
                               " bytes of shared memory, sm_80 gives " + std::to_string(shared_limit));
    }
    // A block of its own, so that the address sanitizer sees its ends.
    shared_.push_back(std::make_unique<unsigned char[]>(bytes));
    std::memset(shared_.back().get(), 0xff, bytes);
    return shared_.back().get();
  }

 private:
  Thread& thread(int index) { return threads_[static_cast<std::size_t>(index)]; }

  void schedule() {
    // The second half of the grid runs its threads from last to first: code that relies on an order breaks.
    const bool backwards = ::blockIdx.x % 2 == 1;
    int done = 0, next = 0;
    while (error_.empty()) {
      bool progress = false;
      for (int i = 0; i < count_ && error_.empty(); ++i) {
        const int index = backwards ? count_ - 1 - i : i;
        Thread& candidate = thread(index);
        const bool starts = candidate.state == State::waiting_to_start;
        if (!starts && candidate.state != State::ready) continue;
        if (starts) ++next;
        resume(index);
        progress = true;
        if (thread(index).state == State::done) ++done;
      }
      if (!error_.empty() || done == count_) return;
      if (progress) continue;
      release_barrier(done);
    }
  }

  void release_barrier(int done) {
    const Thread* first = nullptr;
    for (const Thread& each : threads_) {
      if (each.state == State::in_exchange) {
        error_ = "divergent warp: some lanes never reach the exchange at " + where(each.site);
        return;
      }
      if (each.state != State::at_barrier) continue;
      if (first == nullptr) first = &each;
      if (each.site.line != first->site.line || std::strcmp(each.site.file, first->site.file) != 0) {
        error_ = "divergent barrier: threads of a block wait at " + where(first->site) + " and at " + where(each.site);
        return;
      }
    }
    if (done > 0 && first != nullptr) {
      error_ = "divergent barrier: some threads of the block end before the barrier at " + where(first->site);
      return;
    }
    for (Thread& each : threads_) each.state = State::ready;
  }

  void resume(int index) {
    Thread& next = thread(index);
    running_ = index;
    const auto flat = static_cast<unsigned>(index);
    ::threadIdx = {flat % ::blockDim.x, flat / ::blockDim.x % ::blockDim.y, flat / ::blockDim.x / ::blockDim.y};
    if (next.fiber < 0) {
      next.fiber = take_fiber();
      fiber(next.fiber).prepare(&BlockRunner::entry);
    }
    next.state = State::ready;
    fiber(next.fiber).enter(&scheduler_);
    if (next.state == State::done) free_fibers_.push_back(next.fiber);
  }

  int take_fiber() {
    if (free_fibers_.empty()) {
      fibers_.push_back(std::make_unique<Fiber>());
      return static_cast<int>(fibers_.size()) - 1;
    }
    const int taken = free_fibers_.back();
    free_fibers_.pop_back();
    return taken;
  }

  Fiber& fiber(int index) { return *fibers_[static_cast<std::size_t>(index)]; }

  static void entry() {
    BlockRunner& runner = *current;
    runner.fiber(runner.thread(runner.running_).fiber).arrived();
    try {
      (*runner.body_)();
    } catch (const std::exception& error) {
      if (runner.error_.empty()) runner.error_ = error.what();
    }
    runner.thread(runner.running_).state = State::done;
    runner.leave(true);
  }

  void wait(State state, Site site) {
    Thread& self = thread(running_);
    self.state = state;
    self.site = site;
    leave(false);
  }

  void leave(bool for_good) { fiber(thread(running_).fiber).leave(scheduler_, for_good); }

  static inline std::atomic<std::uint64_t> next_generation_{1};

  const std::function<void()>* body_ = nullptr;
  const LaunchShape* shape_ = nullptr;
  int count_ = 0;
  int running_ = 0;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<int> free_fibers_;
  std::vector<std::unique_ptr<unsigned char[]>> shared_;
  std::size_t shared_used_ = 0;
  void* dynamic_ = nullptr;
  std::uint64_t generation_ = 0;
  void* scheduler_ = nullptr;
  std::string error_;
};

}  // namespace

cudaError_t check_launch(const LaunchShape& shape) {
  const auto [grid, block, shared] = shape;
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  const bool valid = grid.x > 0 && grid.y > 0 && grid.z > 0 && grid.x <= 0x7fffffffu && grid.y <= 65535 &&
                     grid.z <= 65535 && threads > 0 && threads <= max_threads && block.z <= 64 &&
                     threads % warp_size == 0 && shared <= shared_limit;
  return valid ? cudaSuccess : cudaErrorInvalidConfiguration;
}

void run_grid(const LaunchShape& shape, const std::function<void()>& thread) {
  const auto blocks = static_cast<std::int64_t>(shape.grid.x) * shape.grid.y * shape.grid.z;
  std::mutex mutex;
  std::string error;
#pragma omp parallel for schedule(dynamic) if (blocks > 1)
  for (std::int64_t block = 0; block < blocks; ++block) {
    static thread_local BlockRunner runner;
    try {
      runner.run(shape, thread, static_cast<unsigned>(block));
    } catch (const std::exception& caught) {
      std::lock_guard<std::mutex> lock(mutex);
      if (error.empty()) error = caught.what();
    }
  }
  if (!error.empty()) throw std::runtime_error(error);
}

void fail_thread(const std::string& why) { current->fail(why); }
void block_barrier(Site site) { current->barrier(site); }
const std::uint64_t* warp_exchange(Site site, std::uint64_t value) { return current->exchange(site, value); }
int lane() { return current->running() % warp_size; }
void* block_shared(std::size_t bytes) { return current->block_shared_bytes(bytes); }
void* dynamic_shared(std::size_t* bytes) {
  *bytes = current->shape().shared_bytes;
  return current->dynamic();
}
std::uint64_t block_generation() { return current->generation(); }

}  // namespace sn::cuda::emulation

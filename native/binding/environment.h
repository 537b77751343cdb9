// State of one JavaScript environment (the main thread or one worker): its devices and its error classes. There is
// no global state, so that the addon loads in several workers at once.
#pragma once

#include <napi.h>

#include <map>
#include <memory>

#include "core/backend.h"
#include "core/error.h"

namespace sn::binding {

// What the garbage collector is told of native memory. It starts a collection whenever the number it is told has grown
// enough, and a training step takes and gives back hundreds of megabytes: so it hears of growth past what it knows
// already, and of memory that it has itself set free by collecting a forgotten tensor, but not of every release. A
// loop that releases what it makes tells it nothing; one that forgets tensors makes it collect them.
class MemoryReport {
 public:
  void take(Napi::BasicEnv env, std::int64_t bytes) {
    live_ += bytes;
    if (live_ > reported_) adjust(env, live_ - reported_);
  }
  void release(std::int64_t bytes) { live_ -= bytes; }
  void collected(Napi::BasicEnv env, std::int64_t bytes) {
    live_ -= bytes;
    adjust(env, -bytes);
  }

 private:
  void adjust(Napi::BasicEnv env, std::int64_t change) {
    reported_ += change;
    Napi::MemoryManagement::AdjustExternalMemory(env, change);
  }

  std::int64_t live_ = 0;
  std::int64_t reported_ = 0;
};

class Environment {
 public:
  Environment();

  // Handles may be collected after the environment's own data: each of them holds on to the report.
  const std::shared_ptr<MemoryReport>& memory_report() const { return memory_report_; }

  Backend& cpu() { return *cpu_; }
  // Made when it is first asked for; throws Error(device) where it cannot be used.
  Backend& cuda();
  std::map<ErrorCode, Napi::FunctionReference>& error_classes() { return error_classes_; }

  // For devices in use and those to come.
  void set_matmul_precision(Precision precision);

 private:
  std::shared_ptr<MemoryReport> memory_report_ = std::make_shared<MemoryReport>();
  std::unique_ptr<Backend> cpu_, cuda_;
  std::map<ErrorCode, Napi::FunctionReference> error_classes_;
  Precision precision_ = Precision::tf32;
};

}  // namespace sn::binding

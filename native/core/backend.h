// A device: its memory, its captured graphs, and every operator of core/operators.def.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/images.h"
#include "core/memory.h"
#include "core/options.h"
#include "core/tensor.h"

namespace sn {

struct DeviceInfo {
  std::string library;  // whose kernels, with the version
  std::string isa;      // instruction set of our own kernels
};

// How products of f32 matrices are computed, where the device has a choice: tf32 and bf16 round the operands to 10 and
// 7 bits of mantissa and add up in f32.
enum class Precision : int { fp32 = 0, tf32 = 1, bf16 = 2 };
constexpr const char* precision_names[] = {"fp32", "tf32", "bf16"};

// Work of a device that was recorded once and runs again as a whole.
class CapturedGraph {
 public:
  virtual ~CapturedGraph() = default;
  // `scalars` has a number for each dynamic scalar of the recorded operators, in their order.
  virtual void replay(const std::vector<double>& scalars) = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual const char* name() const = 0;  // as users write it
  virtual DeviceInfo info() const = 0;
  virtual void set_matmul_precision(Precision) {}
  // Waits until everything asked for so far is done; throws what went wrong in it.
  virtual void synchronize() {}

  // From begin to end, operators are recorded instead of run. Tensors made meanwhile keep their memory for as long as
  // the graph lives, so that a replay writes them again. Host memory cannot be read or written meanwhile.
  virtual void begin_capture() { not_supported("captured graphs"); }
  virtual std::unique_ptr<CapturedGraph> end_capture() { not_supported("captured graphs"); }

  virtual std::shared_ptr<Storage> allocate(std::size_t bytes) = 0;
  virtual MemoryStats memory_stats() const = 0;
  virtual void reset_peak() = 0;
  virtual void release_cache() = 0;
  // Between the host and this device, and on it; the sizes agree. read() waits.
  virtual void write(const void* host, const Tensor& to) = 0;
  virtual void read(const Tensor& from, void* host) = 0;
  virtual void copy(const Tensor& from, const Tensor& to) = 0;
  virtual std::unique_ptr<ImageJob> image_batch(ImageBatch batch) = 0;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#define SN_OPERATOR(result, name, parameters) \
  virtual result name parameters { not_supported(#name); }
#include "core/operators.def"
#pragma GCC diagnostic pop

 protected:
  // A tensor for the length of one operator. On a device with a queue later operators may take its memory: they run
  // after it.
  Tensor scratch(DType dtype, const Shape& shape) {
    Tensor tensor{nullptr, dtype, shape};
    tensor.storage = allocate(tensor.bytes());
    return tensor;
  }

 private:
  [[noreturn]] void not_supported(const char* what) const {
    throw Error(ErrorCode::device, "device", std::string(what) + " is not supported on the " + name() + " device");
  }
};

}  // namespace sn

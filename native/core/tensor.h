// Shape, DType, Storage and Tensor: what every backend operator takes and fills.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

namespace sn {

class Backend;

// bf16 is for storage and casts: an operator takes it where its declaration says so (core/operators).
enum class DType : std::uint8_t { f32, f64, i32, u8, bf16 };
constexpr int dtype_count = 5;

constexpr const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::f32: return "f32";
    case DType::f64: return "f64";
    case DType::i32: return "i32";
    case DType::u8: return "u8";
    case DType::bf16: return "bf16";
  }
  return "";
}

constexpr std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f32: return 4;
    case DType::f64: return 8;
    case DType::i32: return 4;
    case DType::u8: return 1;
    case DType::bf16: return 2;
  }
  return 0;
}

// Row-major extents, outermost first; images are N, H, W, C and filters O, kH, kW, I.
class Shape {
 public:
  static constexpr int max_rank = 6;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents) {
    for (std::int64_t extent : extents) push(extent);
  }

  void push(std::int64_t extent) { extents_[static_cast<std::size_t>(rank_++)] = extent; }
  int rank() const { return rank_; }
  bool operator==(const Shape& other) const { return rank_ == other.rank_ && extents_ == other.extents_; }
  std::int64_t operator[](int axis) const { return extents_[static_cast<std::size_t>(axis)]; }
  std::int64_t back() const { return extents_[static_cast<std::size_t>(rank_ - 1)]; }
  std::int64_t count() const {
    std::int64_t product = 1;
    for (int axis = 0; axis < rank_; ++axis) product *= (*this)[axis];
    return product;
  }

 private:
  std::array<std::int64_t, max_rank> extents_{};
  int rank_ = 0;
};

// Device memory with one owner count. `revision` grows with every write, so that what a backend derives
// from the contents (packed weights) knows when it is stale.
class Storage {
 public:
  Storage(Backend& backend, void* data, std::size_t bytes) : backend_(backend), data_(data), bytes_(bytes) {}
  virtual ~Storage() = default;
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  Backend& backend() const { return backend_; }
  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  std::uint64_t revision() const { return revision_; }
  void touch() { ++revision_; }

  // The entry of Tensor::derived, and the shape it was made for.
  std::shared_ptr<void> derived;
  Shape derived_shape;

 private:
  Backend& backend_;
  void* data_;
  std::size_t bytes_;
  std::uint64_t revision_ = 0;
};

// A typed, contiguous, row-major view of a whole Storage. An empty Tensor tests false.
//
// As a parameter of an operator (core/operators) its type says which dtypes it takes; the binding checks them before
// the operator runs. All Tensors and OptionalTensors of a call share one dtype, f32 or f64. The types below are the
// exceptions.
struct Tensor {
  std::shared_ptr<Storage> storage;
  DType dtype = DType::f32;
  Shape shape;

  explicit operator bool() const { return storage != nullptr; }
  std::int64_t count() const { return shape.count(); }
  std::size_t bytes() const { return static_cast<std::size_t>(count()) * size_of(dtype); }
  Backend& backend() const { return storage->backend(); }

  template <typename T>
  const T* read() const {
    return storage ? static_cast<const T*>(storage->data()) : nullptr;
  }
  template <typename T>
  T* write() const {
    if (!storage) return nullptr;
    storage->touch();
    return static_cast<T*>(storage->data());
  }

  // What a backend derives from the contents and keeps with them, such as packed filters. Tensors of other shapes may
  // share the storage: another shape gets a new entry.
  template <typename Derived>
  Derived& derived() const {
    if (!storage->derived || !(storage->derived_shape == shape)) {
      storage->derived = std::make_shared<Derived>();
      storage->derived_shape = shape;
    }
    return *static_cast<Derived*>(storage->derived.get());
  }
};

// May be absent: then it is empty.
struct OptionalTensor : Tensor {
  OptionalTensor() = default;
  OptionalTensor(Tensor tensor) : Tensor(std::move(tensor)) {}
};

// As many tensors as the lists before it, or none.
struct OptionalTensors : std::vector<Tensor> {};

// Labels: i32.
struct IndexTensor : Tensor {};

// Of any dtype, whatever the others have.
struct AnyTensor : Tensor {};

}  // namespace sn

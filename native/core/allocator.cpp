#include "core/allocator.h"

#include <algorithm>
#include <string>

#include "core/error.h"

namespace sn {
namespace {

// Size classes an eighth of a power of two apart: at most 12.5 % is lost, and sizes that differ a little share
// blocks.
std::size_t size_class(std::size_t bytes) {
  std::size_t step = 64;
  while (step * 16 <= bytes) step *= 2;
  return std::max<std::size_t>(64, (bytes + step - 1) / step * step);
}

class CachedStorage final : public Storage {
 public:
  CachedStorage(Backend& backend, std::shared_ptr<Allocator> allocator, std::size_t bytes)
      : Storage(backend, allocator->allocate(bytes), bytes), allocator_(std::move(allocator)) {}
  ~CachedStorage() override { allocator_->release(data(), bytes()); }

 private:
  std::shared_ptr<Allocator> allocator_;
};

}  // namespace

Allocator::~Allocator() { release_cache(); }

std::size_t Allocator::block_size(std::size_t bytes) const {
  return reuse_ == Reuse::immediate ? std::max<std::size_t>(bytes, 1) : size_class(bytes);
}

void* Allocator::allocate(std::size_t bytes) {
  const std::size_t rounded = block_size(bytes);
  std::lock_guard<std::mutex> lock(mutex_);
  void* block = nullptr;
  if (auto found = free_.find(rounded); found != free_.end() && !found->second.empty()) {
    block = found->second.back();
    found->second.pop_back();
  } else {
    block = source_->allocate(rounded);
    if (block == nullptr && reuse_ == Reuse::cached) {
      empty_cache();
      block = source_->allocate(rounded);
    }
    if (block == nullptr) {
      throw Error(ErrorCode::device, "memory",
                  "out of memory: the " + std::string(source_->device()) + " device could not allocate " +
                      std::to_string(bytes) + " bytes beside the " + std::to_string(stats_.allocated) +
                      " in use; use a smaller batch or release tensors");
    }
    stats_.reserved += rounded;
  }
  stats_.allocated += rounded;
  stats_.storages += 1;
  stats_.peak = std::max(stats_.peak, stats_.allocated);
  return block;
}

void Allocator::release(void* block, std::size_t bytes) {
  const std::size_t rounded = block_size(bytes);
  std::lock_guard<std::mutex> lock(mutex_);
  if (reuse_ == Reuse::immediate) {
    source_->release(block);
    stats_.reserved -= rounded;
  } else {
    free_[rounded].push_back(block);
  }
  stats_.allocated -= rounded;
  stats_.storages -= 1;
}

MemoryStats Allocator::stats() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return stats_;
}

void Allocator::reset_peak() {
  std::lock_guard<std::mutex> lock(mutex_);
  stats_.peak = stats_.allocated;
}

void Allocator::release_cache() {
  std::lock_guard<std::mutex> lock(mutex_);
  empty_cache();
}

void Allocator::empty_cache() {
  for (auto& [size, blocks] : free_) {
    for (void* block : blocks) source_->release(block);
    stats_.reserved -= size * blocks.size();
  }
  free_.clear();
}

std::shared_ptr<Storage> allocate_storage(Backend& backend, const std::shared_ptr<Allocator>& allocator,
                                          std::size_t bytes) {
  return std::make_shared<CachedStorage>(backend, allocator, bytes);
}

}  // namespace sn

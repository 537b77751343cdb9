// A bounded cache: it keeps the values that were asked for last.
#pragma once

#include <cstddef>
#include <list>
#include <map>
#include <utility>

namespace sn {

template <typename Key, typename Value>
class LruCache {
 public:
  explicit LruCache(std::size_t capacity) : capacity_(capacity) {}
  LruCache(const LruCache&) = delete;
  LruCache& operator=(const LruCache&) = delete;

  // The value of that key; make() makes it where there is none, and may throw. The reference holds until the next call:
  // a value that is used longer is a shared_ptr, to be copied.
  template <typename Make>
  Value& get(const Key& key, Make&& make) {
    auto found = entries_.find(key);
    if (found != entries_.end()) {
      order_.splice(order_.begin(), order_, found->second.place);
      return found->second.value;
    }
    Value value = make();
    order_.emplace_front();
    try {
      found = entries_.emplace(key, Entry{std::move(value), order_.begin()}).first;
    } catch (...) {
      order_.pop_front();
      throw;
    }
    order_.front() = found;
    if (entries_.size() > capacity_) {
      entries_.erase(order_.back());
      order_.pop_back();
    }
    return found->second.value;
  }

  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry;
  using Entries = std::map<Key, Entry>;
  using Order = std::list<typename Entries::iterator>;  // the latest first
  struct Entry {
    Value value;
    typename Order::iterator place;
  };

  const std::size_t capacity_;
  Entries entries_;
  Order order_;
};

}  // namespace sn

// How many threads oneDNN takes.
#pragma once

#include <omp.h>

#include <cstdint>

namespace sn::cpu {

// One thread where there are few multiply-adds, which take less time than waking the others; oneDNN itself wakes them
// always. Holds for its scope, in the calling thread.
class ThreadsFor {
 public:
  explicit ThreadsFor(std::int64_t multiply_adds) {
    if (multiply_adds < 500000) omp_set_num_threads(1);
  }
  ~ThreadsFor() { omp_set_num_threads(before_); }
  ThreadsFor(const ThreadsFor&) = delete;
  ThreadsFor& operator=(const ThreadsFor&) = delete;

 private:
  const int before_ = omp_get_max_threads();
};

}  // namespace sn::cpu

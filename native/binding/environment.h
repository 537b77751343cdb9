// State of one JavaScript environment (the main thread or one worker): its device and its error classes. There is
// no global state, so that the addon loads in several workers at once.
#pragma once

#include <napi.h>

#include <map>
#include <memory>

#include "core/backend.h"
#include "core/error.h"

namespace sn::binding {

class Environment {
 public:
  Environment();

  Backend& cpu() { return *cpu_; }
  std::map<ErrorCode, Napi::FunctionReference>& error_classes() { return error_classes_; }

 private:
  std::unique_ptr<Backend> cpu_;
  std::map<ErrorCode, Napi::FunctionReference> error_classes_;
};

}  // namespace sn::binding

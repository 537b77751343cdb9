// State of one JavaScript environment (the main thread or one worker): its devices and its error classes. There is
// no global state, so that the addon loads in several workers at once.
#pragma once

#include <napi.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "binding/handles.h"
#include "core/backend.h"
#include "core/device.h"

namespace sn::binding {

// Every device that the addon knows: a new one is registered here (environment.cpp).
const std::vector<Device>& devices();

class Environment {
 public:
  HandleTable& handles() { return *handles_; }
  std::map<ErrorCode, Napi::FunctionReference>& error_classes() { return error_classes_; }

  // The device of that name, made when it is first asked for; null where there is none of that name. Throws
  // Error(device) where it cannot be used.
  Backend* device(const std::string& name);

  // For devices in use and those to come.
  void set_matmul_precision(Precision precision);

 private:
  std::shared_ptr<HandleTable> handles_ = std::make_shared<HandleTable>();
  std::vector<std::unique_ptr<Backend>> backends_{devices().size()};
  std::map<ErrorCode, Napi::FunctionReference> error_classes_;
  Precision precision_ = Precision::tf32;
};

Environment& environment(Napi::Env env);

}  // namespace sn::binding

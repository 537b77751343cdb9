// State of one JavaScript environment (the main thread or one worker): its devices, and the copies of the JavaScript
// library that are loaded in it. There is no global state, so that the addon loads in several workers at once.
#pragma once

#include <napi.h>

#include <list>
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
// Whether an exception says that there is no more memory, the system's own or one of a device's library.
bool is_out_of_memory(const std::exception& error);

// A copy of the JavaScript library. Most environments have one; two versions of the package, or a test that resets its
// modules, make several. Each has functions of its own, which throw the copy's own errors.
class Library {
 public:
  // The constructors of lib/errors.ts by the names of the codes. Throws Napi::Error where one is missing.
  Library(Napi::Env env, const Napi::Object& error_classes);
  // The copy whose function was called.
  static const Library& of(const Napi::CallbackInfo& info) { return *static_cast<const Library*>(info.Data()); }

  Napi::Env env() const { return env_; }
  Napi::Error to_javascript(const Error& error) const;

 private:
  Napi::Env env_;
  // Weak: a copy that nobody uses any longer can be collected.
  std::map<ErrorCode, Napi::FunctionReference> error_classes_;
};

class Environment {
 public:
  HandleTable& handles() { return *handles_; }

  // Stays where it is for as long as the environment lives.
  Library& add_library(Library library) { return libraries_.emplace_back(std::move(library)); }

  // The device of that name, made when it is first asked for; null where there is none of that name. Throws
  // Error(device) where it cannot be used.
  Backend* device(const std::string& name);

  // For devices in use and those to come.
  void set_matmul_precision(Precision precision);

 private:
  std::shared_ptr<HandleTable> handles_ = std::make_shared<HandleTable>();
  std::vector<std::unique_ptr<Backend>> backends_{devices().size()};
  std::list<Library> libraries_;  // workers refer to them: Node ends those before it deletes this
  Precision precision_ = Precision::tf32;
};

Environment& environment(Napi::Env env);

}  // namespace sn::binding

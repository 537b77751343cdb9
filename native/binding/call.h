// From a C++ function to a function of the addon, with C++ errors turned into the classes of lib/errors.ts.
#pragma once

#include <napi.h>

#include <string>

#include "binding/args.h"

namespace sn::binding {

// Runs body(), whose C++ errors become those of the library.
template <typename Body>
auto translating_errors(const Library& library, Body&& body) {
  try {
    return body();
  } catch (const Error& error) {
    throw library.to_javascript(error);
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::exception& error) {
    if (is_out_of_memory(error)) throw library.to_javascript(Error(ErrorCode::device, "memory", "out of memory"));
    throw Napi::Error::New(library.env(), std::string("internal error in the native addon: ") + error.what());
  }
}

template <auto function>
Napi::Value call(const Napi::CallbackInfo& info) {
  return translating_errors(Library::of(info), [&]() -> Napi::Value {
    Args args(info);
    if constexpr (std::is_void_v<decltype(function(args))>) {
      function(args);
      return info.Env().Undefined();
    } else {
      return function(args);
    }
  });
}

// What a library gets of the addon.
struct Exports {
  Library& library;
  Napi::Object object = Napi::Object::New(library.env());

  // A function that takes Args.
  template <auto function>
  void add(const char* name) {
    object.Set(name, Napi::Function::New<call<function>>(library.env(), name, &library));
  }
};

// One function a file, called by addon.cpp.
void expose_graph(Exports& exports);
void expose_images(Exports& exports);
void expose_info(Exports& exports);
void expose_lock(Exports& exports);
void expose_operators(Exports& exports);
void expose_tensor(Exports& exports);

}  // namespace sn::binding

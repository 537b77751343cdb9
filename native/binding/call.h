// From a C++ function to a function of the addon, with C++ errors turned into the classes of lib/errors.ts.
#pragma once

#include <napi.h>

#include <new>
#include <string>

#include "binding/args.h"

namespace sn::binding {

Napi::Error to_javascript(Napi::Env env, const Error& error);

// Runs body(), whose C++ errors become JavaScript's.
template <typename Body>
auto translating_errors(Napi::Env env, Body&& body) {
  try {
    return body();
  } catch (const Error& error) {
    throw to_javascript(env, error);
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw to_javascript(env, Error(ErrorCode::device, "memory", "out of memory"));
  } catch (const std::exception& error) {
    throw Napi::Error::New(env, std::string("internal error in the native addon: ") + error.what());
  }
}

template <auto function>
Napi::Value call(const Napi::CallbackInfo& info) {
  return translating_errors(info.Env(), [&]() -> Napi::Value {
    Args args(info);
    if constexpr (std::is_void_v<decltype(function(args))>) {
      function(args);
      return info.Env().Undefined();
    } else {
      return function(args);
    }
  });
}

// Registers a function that takes Args.
template <auto function>
void expose(Napi::Env env, Napi::Object& exports, const char* name) {
  exports.Set(name, Napi::Function::New<call<function>>(env, name));
}

// One function a file, called by addon.cpp.
void expose_graph(Napi::Env env, Napi::Object& exports);
void expose_images(Napi::Env env, Napi::Object& exports);
void expose_info(Napi::Env env, Napi::Object& exports);
void expose_lock(Napi::Env env, Napi::Object& exports);
void expose_operators(Napi::Env env, Napi::Object& exports);
void expose_tensor(Napi::Env env, Napi::Object& exports);

}  // namespace sn::binding

#include "binding/environment.h"

#include <algorithm>
#include <new>

#include "cpu/device.h"
#include "cuda/device.h"

namespace sn::binding {

const std::vector<Device>& devices() {
  static const std::vector<Device> all{cpu::device(), cuda::device()};
  return all;
}

bool is_out_of_memory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return true;
  return std::any_of(devices().begin(), devices().end(), [&](const Device& device) {
    return device.is_out_of_memory != nullptr && device.is_out_of_memory(error);
  });
}

Library::Library(Napi::Env env, const Napi::Object& error_classes) : env_(env) {
  constexpr std::pair<const char*, ErrorCode> names[] = {
      {"shape", ErrorCode::shape},   {"dtype", ErrorCode::dtype}, {"device", ErrorCode::device},
      {"option", ErrorCode::option}, {"data", ErrorCode::data},   {"disposed", ErrorCode::disposed},
  };
  for (const auto& [name, code] : names) {
    const Napi::Value constructor = error_classes.Get(name);
    if (!constructor.IsFunction()) {
      throw Napi::TypeError::New(env, std::string("errorClasses has no constructor for ") + name);
    }
    error_classes_[code] = Napi::Weak(constructor.As<Napi::Function>());
  }
}

Napi::Error Library::to_javascript(const Error& error) const {
  const Napi::Function constructor = error_classes_.at(error.code()).Value();
  if (constructor.IsEmpty()) return Napi::Error::New(env_, error.what());
  return {env_, constructor.New({Napi::String::New(env_, error.argument()), Napi::String::New(env_, error.what())})};
}

Backend* Environment::device(const std::string& name) {
  for (std::size_t i = 0; i < devices().size(); ++i) {
    if (name != devices()[i].name) continue;
    if (!backends_[i]) {
      backends_[i] = devices()[i].make_backend();
      backends_[i]->set_matmul_precision(precision_);
    }
    return backends_[i].get();
  }
  return nullptr;
}

void Environment::set_matmul_precision(Precision precision) {
  precision_ = precision;
  for (const auto& backend : backends_) {
    if (backend) backend->set_matmul_precision(precision);
  }
}

Environment& environment(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

}  // namespace sn::binding

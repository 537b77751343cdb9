// Reads the arguments of one call in order. The TypeScript side has checked what a user can get wrong; what is
// checked here keeps a mistake in lib/ from becoming a crash.
#pragma once

#include <napi.h>

#include <string>
#include <vector>

#include "core/backend.h"
#include "core/error.h"

namespace sn::binding {

class Environment;
class MemoryReport;
Environment& environment(Napi::Env env);

// What handles point to begins with what it is, so that one taken for another is an error and no crash.
enum class BoxKind : std::uint32_t { tensor = 0x74656e73, graph = 0x67726170 };

// What a JavaScript handle points to. The tensor is emptied by `release`, after which the handle can be filled again;
// the object is freed by the garbage collector.
struct HandleBox {
  BoxKind kind;
  Tensor tensor;
  std::int64_t weight;  // bytes in the memory report; 0 for a second view of the same memory
  std::shared_ptr<MemoryReport> report;
};

class Args {
 public:
  explicit Args(const Napi::CallbackInfo& info) : info_(info) {}

  Napi::Env env() const { return info_.Env(); }
  Tensor& tensor();
  Tensor optional_tensor();  // null gives an empty tensor
  std::vector<Tensor> tensors();
  HandleBox& box();
  double number();
  int integer() { return static_cast<int>(number()); }
  bool boolean();
  std::string name();  // at most 15 characters; what is longer is no name and is cut
  Backend& device();  // of the environment, by name; throws Error(device) where it cannot be used
  Shape shape();
  ConvGeometry conv_geometry(const Tensor& w);
  Window pool_geometry();
  Normalization normalization();           // gamma, beta, mean, variance, eps, relu
  Normalization optional_normalization();  // the same, or null alone
  Napi::Value value() { return info_[next_++]; }
  // A handle for the tensor: the released one that comes next, or a new one where there is none.
  Napi::Value filled_handle(Tensor tensor);

 private:
  [[noreturn]] void wrong(const char* expected);
  const Napi::CallbackInfo& info_;
  size_t next_ = 0;
};

// A handle for a tensor, freed with it.
Napi::Value make_handle(Napi::Env env, Tensor tensor);

// Registers a function that takes Args; a sn::Error becomes the TypeScript class of its code.
template <auto function>
void expose(Napi::Env env, Napi::Object& exports, const char* name);

Napi::Error to_javascript(Napi::Env env, const Error& error);

template <auto function>
Napi::Value call(const Napi::CallbackInfo& info) {
  try {
    Args args(info);
    if constexpr (std::is_void_v<decltype(function(args))>) {
      function(args);
      return info.Env().Undefined();
    } else {
      return function(args);
    }
  } catch (const Error& error) {
    throw to_javascript(info.Env(), error);
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw to_javascript(info.Env(), Error(ErrorCode::device, "memory", "out of memory"));
  } catch (const std::exception& error) {
    throw Napi::Error::New(info.Env(), std::string("internal error in the native addon: ") + error.what());
  }
}

template <auto function>
void expose(Napi::Env env, Napi::Object& exports, const char* name) {
  exports.Set(name, Napi::Function::New<call<function>>(env, name));
}

// One function a file, called by addon.cpp.
void expose_tensor(Napi::Env env, Napi::Object& exports);
void expose_conv2d(Napi::Env env, Napi::Object& exports);
void expose_sphere_conv2d(Napi::Env env, Napi::Object& exports);
void expose_matmul(Napi::Env env, Napi::Object& exports);
void expose_pooling(Napi::Env env, Napi::Object& exports);
void expose_batch_norm(Napi::Env env, Napi::Object& exports);
void expose_elementwise(Napi::Env env, Napi::Object& exports);
void expose_losses(Napi::Env env, Napi::Object& exports);
void expose_optimizers(Napi::Env env, Napi::Object& exports);
void expose_images(Napi::Env env, Napi::Object& exports);
void expose_graph(Napi::Env env, Napi::Object& exports);
void expose_info(Napi::Env env, Napi::Object& exports);

}  // namespace sn::binding

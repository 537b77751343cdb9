#include <napi.h>

#include "binding/call.h"
#include "math/margin.h"

namespace sn::binding {

namespace {

template <typename Names>
Napi::Array array_of(Napi::Env env, const Names& names) {
  auto array = Napi::Array::New(env);
  for (const char* name : names) array.Set(array.Length(), name);
  return array;
}

// The names that have numbers on this side: a code is a place in such a list. lib/ has lists of its own for its types;
// test/native/contract.test.ts holds them against these.
Napi::Object names(Napi::Env env) {
  std::vector<const char*> device_names, dtype_names;
  for (const Device& device : devices()) device_names.push_back(device.name);
  for (int i = 0; i < dtype_count; ++i) dtype_names.push_back(name_of(static_cast<DType>(i)));
  auto object = Napi::Object::New(env);
  object.Set("devices", array_of(env, device_names));
  object.Set("dtypes", array_of(env, dtype_names));
  object.Set("precisions", array_of(env, precision_names));
  object.Set("angular", array_of(env, math::AngularFunctions<float>::names));
  object.Set("margins", array_of(env, math::MarginFunctions::names));
  object.Set("positivities", array_of(env, positive_names));
  return object;
}

// open(errorClasses): the addon's functions for one copy of the JavaScript library.
Napi::Value open(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Value error_classes = info[0];
  if (!error_classes.IsObject()) throw Napi::TypeError::New(env, "errorClasses must be an object");
  Exports exports{environment(env).add_library({env, error_classes.As<Napi::Object>()})};
  exports.object.Set("names", names(env));
  expose_info(exports);
  expose_lock(exports);
  expose_graph(exports);
  expose_tensor(exports);
  expose_operators(exports);
  expose_images(exports);
  return exports.object;
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Environment());
  exports.Set("open", Napi::Function::New<open>(env, "open"));
  return exports;
}

}  // namespace
}  // namespace sn::binding

static Napi::Object init_spherenet(Napi::Env env, Napi::Object exports) {
  return sn::binding::initialize(env, exports);
}
NODE_API_MODULE(spherenet, init_spherenet)

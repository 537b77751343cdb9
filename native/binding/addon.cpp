#include <napi.h>

#include "binding/call.h"
#include "math/margin.h"

namespace sn::binding {

Napi::Error to_javascript(Napi::Env env, const Error& error) {
  auto& classes = environment(env).error_classes();
  auto found = classes.find(error.code());
  if (found == classes.end()) return Napi::Error::New(env, error.what());
  Napi::Object object =
      found->second.New({Napi::String::New(env, error.argument()), Napi::String::New(env, error.what())});
  return Napi::Error(env, object);
}

namespace {

void set_error_classes(Args& args) {
  Napi::Value value = args.value();
  if (!value.IsObject()) throw Error(ErrorCode::option, "classes", "classes must be an object");
  auto classes = value.As<Napi::Object>();
  const std::pair<const char*, ErrorCode> names[] = {
      {"shape", ErrorCode::shape},   {"dtype", ErrorCode::dtype}, {"device", ErrorCode::device},
      {"option", ErrorCode::option}, {"data", ErrorCode::data},   {"disposed", ErrorCode::disposed},
  };
  auto& table = environment(args.env()).error_classes();
  for (const auto& [name, code] : names) {
    table[code] = Napi::Persistent(classes.Get(name).As<Napi::Function>());
  }
}

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

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Environment());
  expose<set_error_classes>(env, exports, "setErrorClasses");
  exports.Set("names", names(env));
  expose_info(env, exports);
  expose_lock(env, exports);
  expose_graph(env, exports);
  expose_tensor(env, exports);
  expose_operators(env, exports);
  expose_images(env, exports);
  return exports;
}

}  // namespace
}  // namespace sn::binding

static Napi::Object init_spherenet(Napi::Env env, Napi::Object exports) {
  return sn::binding::initialize(env, exports);
}
NODE_API_MODULE(spherenet, init_spherenet)

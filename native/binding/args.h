// Reads the arguments of one call in order. The TypeScript side has checked what a user can get wrong; what is checked
// here keeps a mistake in lib/ from becoming a crash.
#pragma once

#include <napi.h>

#include <string>
#include <vector>

#include "binding/environment.h"

namespace sn::binding {

// What errors say of a call's parameters.
class ParameterNames {
 public:
  virtual ~ParameterNames() = default;
  virtual std::string name(std::size_t argument) const = 0;
};

class Args {
 public:
  explicit Args(const Napi::CallbackInfo& info, const ParameterNames* names = nullptr)
      : info_(info), names_(names), handles_(environment(info.Env()).handles()) {}

  Napi::Env env() const { return info_.Env(); }
  const Library& library() const { return Library::of(info_); }

  // Tensors that must agree: f32 or f64, all of one dtype and on one device.
  Tensor& tensor() { return agreeing(next_operand()); }
  OptionalTensor optional_tensor();  // null gives an empty tensor
  std::vector<Tensor> tensors();     // lists of a call are of one length
  OptionalTensors optional_tensors();
  // Exceptions to the dtype, on the same device all the same.
  IndexTensor index_tensor();
  AnyTensor any_tensor() { return {next_operand()}; }
  // The device of the tensors read so far; null before the first.
  Backend* operands_device() const { return device_; }

  // One on any device.
  Tensor& live_tensor() { return live(handles_.tensor_box(env(), info_[next_++])); }
  TensorBox& box();
  double number();
  bool boolean();
  std::string name();  // at most 15 characters; what is longer is no name and is cut
  Backend& device();   // of the environment, by name; throws Error(device) where it cannot be used
  Shape shape();
  // `count` numbers, as lib/native.ts packs the fields of a struct.
  const double* packed(std::size_t count);
  Napi::Value value() { return info_[next_++]; }

  // Whether the next argument is null, undefined or left out.
  bool is_absent() const;
  bool is_left_out() const { return next_ >= info_.Length(); }
  // Skips that many arguments, all of which must be absent.
  void skip_absent(std::size_t arguments);

  // A handle for the tensor: the released one that comes next, or a new one where there is none.
  Napi::Value filled_handle(Tensor tensor);

 private:
  [[noreturn]] void wrong(const char* expected) const;
  std::string argument_name() const;
  Tensor& next_operand() { return operand(live_tensor()); }
  Tensor& operand(Tensor& tensor);     // on the device of the others
  Tensor& live(TensorBox* box) const;  // what a box holds, not yet released
  Tensor& agreeing(Tensor& tensor);
  std::vector<Tensor> list(bool may_be_empty);

  const Napi::CallbackInfo& info_;
  const ParameterNames* names_;
  HandleTable& handles_;
  size_t next_ = 0;
  Backend* device_ = nullptr;
  const Tensor* first_ = nullptr;  // with whose dtype the others must agree
  static constexpr std::uint32_t no_list = ~std::uint32_t{0};
  std::uint32_t list_length_ = no_list;
};

}  // namespace sn::binding

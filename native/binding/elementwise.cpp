#include "binding/args.h"

namespace sn::binding {
namespace {

void affine_forward(Args& args) {
  Tensor& x = args.tensor();
  Tensor scale = args.optional_tensor();
  Tensor shift = args.optional_tensor();
  Tensor& y = args.tensor();
  x.backend().affine_forward(x, scale, shift, y);
}

void affine_backward(Args& args) {
  Tensor& x = args.tensor();
  Tensor scale = args.optional_tensor();
  Tensor& dy = args.tensor();
  Tensor dx = args.optional_tensor();
  Tensor dscale = args.optional_tensor();
  Tensor dshift = args.optional_tensor();
  x.backend().affine_backward(x, scale, dy, dx, dscale, dshift);
}

void relu_forward(Args& args) {
  Tensor& x = args.tensor();
  Tensor& y = args.tensor();
  x.backend().relu_forward(x, y);
}

void relu_backward(Args& args) {
  Tensor& y = args.tensor();
  Tensor& dy = args.tensor();
  Tensor& dx = args.tensor();
  y.backend().relu_backward(y, dy, dx);
}

void add(Args& args) {
  Tensor& a = args.tensor();
  Tensor& b = args.tensor();
  Tensor& out = args.tensor();
  a.backend().add(a, b, out);
}

void scale(Args& args) {
  Tensor& x = args.tensor();
  const double factor = args.number();
  Tensor& out = args.tensor();
  x.backend().scale(x, factor, out);
}

void scale_by(Args& args) {
  Tensor& x = args.tensor();
  Tensor& factor = args.tensor();
  Tensor& out = args.tensor();
  x.backend().scale_by(x, factor, out);
}

void sum(Args& args) {
  Tensor& x = args.tensor();
  Tensor& out = args.tensor();
  x.backend().sum(x, out);
}

void positive_forward(Args& args) {
  Tensor& p = args.tensor();
  Tensor& k = args.tensor();
  p.backend().positive_forward(p, k, static_cast<Positive>(args.integer()));
}

void positive_backward(Args& args) {
  Tensor& p = args.tensor();
  Tensor& dk = args.tensor();
  Tensor& dp = args.tensor();
  p.backend().positive_backward(p, dk, dp, static_cast<Positive>(args.integer()));
}

void copy_channels(Args& args) {
  Tensor& from = args.tensor();
  const int from_channel = args.integer();
  Tensor& to = args.tensor();
  const int to_channel = args.integer();
  from.backend().copy_channels(from, from_channel, to, to_channel, args.integer());
}

void dropout(Args& args) {
  Tensor& x = args.tensor();
  Tensor& y = args.tensor();
  const double probability = args.number();
  x.backend().dropout(x, y, probability, static_cast<std::uint64_t>(args.number()));
}

}  // namespace

void expose_elementwise(Napi::Env env, Napi::Object& exports) {
  expose<affine_forward>(env, exports, "affineForward");
  expose<affine_backward>(env, exports, "affineBackward");
  expose<relu_forward>(env, exports, "reluForward");
  expose<relu_backward>(env, exports, "reluBackward");
  expose<add>(env, exports, "add");
  expose<scale>(env, exports, "scale");
  expose<scale_by>(env, exports, "scaleBy");
  expose<sum>(env, exports, "sum");
  expose<positive_forward>(env, exports, "positiveForward");
  expose<positive_backward>(env, exports, "positiveBackward");
  expose<copy_channels>(env, exports, "copyChannels");
  expose<dropout>(env, exports, "dropout");
}

}  // namespace sn::binding

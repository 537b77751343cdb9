#include "binding/args.h"

namespace sn::binding {
namespace {

void forward(Args& args) {
  Tensor& x = args.tensor();
  Tensor& w = args.tensor();
  Tensor bias = args.optional_tensor();
  Tensor& y = args.tensor();
  const ConvGeometry geometry = args.conv_geometry(w);
  x.backend().conv2d_forward(x, w, bias, y, geometry, args.optional_normalization());
}

void backward_data(Args& args) {
  Tensor& dy = args.tensor();
  Tensor& w = args.tensor();
  Tensor& dx = args.tensor();
  dy.backend().conv2d_backward_data(dy, w, dx, args.conv_geometry(w));
}

void backward_weights(Args& args) {
  Tensor& x = args.tensor();
  Tensor& dy = args.tensor();
  Tensor& dw = args.tensor();
  Tensor dbias = args.optional_tensor();
  x.backend().conv2d_backward_weights(x, dy, dw, dbias, args.conv_geometry(dw));
}

}  // namespace

void expose_conv2d(Napi::Env env, Napi::Object& exports) {
  expose<forward>(env, exports, "conv2dForward");
  expose<backward_data>(env, exports, "conv2dBackwardData");
  expose<backward_weights>(env, exports, "conv2dBackwardWeights");
}

}  // namespace sn::binding

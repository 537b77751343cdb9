#include "binding/args.h"

namespace sn::binding {
namespace {

SphereOptions sphere_options(Args& args) {
  SphereOptions options;
  options.angular = static_cast<Angular>(args.integer());
  options.k = args.number();
  options.guard.eps = args.number();
  options.guard.add = args.boolean();
  return options;
}

void forward(Args& args) {
  Tensor& x = args.tensor();
  Tensor& w = args.tensor();
  Tensor k = args.optional_tensor();
  Tensor bias = args.optional_tensor();
  Tensor& y = args.tensor();
  Tensor& cosine = args.tensor();
  Tensor& inv_patch_norm = args.tensor();
  Tensor& inv_filter_norm = args.tensor();
  const ConvGeometry geometry = args.conv_geometry(w);
  x.backend().sphere_conv2d_forward(x, w, k, bias, y, cosine, inv_patch_norm, inv_filter_norm, geometry,
                                    sphere_options(args));
}

void backward(Args& args) {
  Tensor& x = args.tensor();
  Tensor& w = args.tensor();
  Tensor k = args.optional_tensor();
  Tensor& cosine = args.tensor();
  Tensor& inv_patch_norm = args.tensor();
  Tensor& inv_filter_norm = args.tensor();
  Tensor& dy = args.tensor();
  Tensor dx = args.optional_tensor();
  Tensor dw = args.optional_tensor();
  Tensor dk = args.optional_tensor();
  Tensor dbias = args.optional_tensor();
  const ConvGeometry geometry = args.conv_geometry(w);
  x.backend().sphere_conv2d_backward(x, w, k, cosine, inv_patch_norm, inv_filter_norm, dy, dx, dw, dk, dbias, geometry,
                                     sphere_options(args));
}

}  // namespace

void expose_sphere_conv2d(Napi::Env env, Napi::Object& exports) {
  expose<forward>(env, exports, "sphereConv2dForward");
  expose<backward>(env, exports, "sphereConv2dBackward");
}

}  // namespace sn::binding

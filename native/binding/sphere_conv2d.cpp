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

SphereSaved saved(Args& args) {
  Tensor& kept = args.tensor();
  Tensor& inv_patch_norm = args.tensor();
  return {kept, inv_patch_norm, args.tensor()};
}

struct ForwardOperands {
  Tensor &x, &w;
  Tensor k, bias;
  Tensor& y;
};
ForwardOperands forward_operands(Args& args) {
  Tensor& x = args.tensor();
  Tensor& w = args.tensor();
  Tensor k = args.optional_tensor();
  Tensor bias = args.optional_tensor();
  return {x, w, k, bias, args.tensor()};
}

void forward(Args& args) {
  const ForwardOperands of = forward_operands(args);
  const SphereSaved for_backward = saved(args);
  const ConvGeometry geometry = args.conv_geometry(of.w);
  of.x.backend().sphere_conv2d_forward(of.x, of.w, of.k, of.bias, of.y, for_backward, geometry, sphere_options(args),
                                       {}, {});
}

// Also y normalised by the statistics of the batch, which it fills.
void forward_normalized(Args& args) {
  const ForwardOperands of = forward_operands(args);
  const SphereSaved for_backward = saved(args);
  const ConvGeometry geometry = args.conv_geometry(of.w);
  const SphereOptions options = sphere_options(args);
  const Normalization normalization = args.normalization();
  Tensor& running_mean = args.tensor();
  Tensor& running_variance = args.tensor();
  const BatchStatistics statistics{normalization.mean, normalization.variance, running_mean, running_variance,
                                   args.number()};
  Tensor& normalized = args.tensor();
  Backend& backend = of.x.backend();
  backend.sphere_conv2d_forward(of.x, of.w, of.k, of.bias, of.y, for_backward, geometry, options, statistics, {});
  backend.normalize(of.y, normalization, normalized);
}

void infer(Args& args) {
  const ForwardOperands of = forward_operands(args);
  const ConvGeometry geometry = args.conv_geometry(of.w);
  const SphereOptions options = sphere_options(args);
  of.x.backend().sphere_conv2d_forward(of.x, of.w, of.k, of.bias, of.y, {}, geometry, options, {},
                                       args.optional_normalization());
}

struct BackwardOperands {
  Tensor &x, &w;
  Tensor k;
  SphereSaved from_forward;
  Tensor& dy;
  Tensor dx, dw, dk, dbias;
  ConvGeometry geometry;
  SphereOptions options;

  void run(const NormalizedGradient& normalized) const {
    x.backend().sphere_conv2d_backward(x, w, k, from_forward, dy, normalized, dx, dw, dk, dbias, geometry, options);
  }
};
BackwardOperands backward_operands(Args& args) {
  Tensor& x = args.tensor();
  Tensor& w = args.tensor();
  Tensor k = args.optional_tensor();
  const SphereSaved from_forward = saved(args);
  Tensor& dy = args.tensor();
  Tensor dx = args.optional_tensor();
  Tensor dw = args.optional_tensor();
  Tensor dk = args.optional_tensor();
  Tensor dbias = args.optional_tensor();
  const ConvGeometry geometry = args.conv_geometry(w);
  return {x, w, k, from_forward, dy, dx, dw, dk, dbias, geometry, sphere_options(args)};
}

void backward(Args& args) { backward_operands(args).run({}); }

// dy is the gradient behind the normalisation.
void backward_normalized(Args& args) {
  const BackwardOperands of = backward_operands(args);
  Tensor& y = args.tensor();
  const Normalization normalization = args.normalization();
  Tensor& dgamma = args.tensor();
  Tensor& dbeta = args.tensor();
  Tensor& slopes = args.tensor();
  y.backend().normalize_backward(y, normalization, of.dy, {}, dgamma, dbeta, slopes);
  of.run({y, normalization, slopes});
}

}  // namespace

void expose_sphere_conv2d(Napi::Env env, Napi::Object& exports) {
  expose<forward>(env, exports, "sphereConv2dForward");
  expose<forward_normalized>(env, exports, "sphereConv2dNormalizedForward");
  expose<infer>(env, exports, "sphereConv2dInfer");
  expose<backward>(env, exports, "sphereConv2dBackward");
  expose<backward_normalized>(env, exports, "sphereConv2dNormalizedBackward");
}

}  // namespace sn::binding

#include "binding/args.h"

namespace sn::binding {
namespace {

Napi::Value max_forward(Args& args) {
  Tensor& x = args.tensor();
  Tensor& y = args.tensor();
  const Window window = args.pool_geometry();
  Tensor workspace = x.backend().max_pool2d_forward(x, y, window, args.boolean());
  if (!workspace) return args.env().Null();
  return make_handle(args.env(), std::move(workspace));
}

void max_backward(Args& args) {
  Tensor& dy = args.tensor();
  Tensor& workspace = args.tensor();
  Tensor& dx = args.tensor();
  dy.backend().max_pool2d_backward(dy, workspace, dx, args.pool_geometry());
}

void average_forward(Args& args) {
  Tensor& x = args.tensor();
  Tensor& y = args.tensor();
  const Window window = args.pool_geometry();
  x.backend().avg_pool2d_forward(x, y, window, args.boolean());
}

void average_backward(Args& args) {
  Tensor& dy = args.tensor();
  Tensor& dx = args.tensor();
  const Window window = args.pool_geometry();
  dy.backend().avg_pool2d_backward(dy, dx, window, args.boolean());
}

void global_average_forward(Args& args) {
  Tensor& x = args.tensor();
  Tensor& y = args.tensor();
  x.backend().global_avg_pool2d_forward(x, y);
}

void global_average_backward(Args& args) {
  Tensor& dy = args.tensor();
  Tensor& dx = args.tensor();
  dy.backend().global_avg_pool2d_backward(dy, dx);
}

}  // namespace

void expose_pooling(Napi::Env env, Napi::Object& exports) {
  expose<max_forward>(env, exports, "maxPool2dForward");
  expose<max_backward>(env, exports, "maxPool2dBackward");
  expose<average_forward>(env, exports, "avgPool2dForward");
  expose<average_backward>(env, exports, "avgPool2dBackward");
  expose<global_average_forward>(env, exports, "globalAvgPool2dForward");
  expose<global_average_backward>(env, exports, "globalAvgPool2dBackward");
}

}  // namespace sn::binding

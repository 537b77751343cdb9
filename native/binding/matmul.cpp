#include "binding/args.h"

namespace sn::binding {
namespace {

void matmul(Args& args) {
  Tensor& a = args.tensor();
  Tensor& b = args.tensor();
  Tensor bias = args.optional_tensor();
  Tensor& c = args.tensor();
  const bool transpose_a = args.boolean();
  const bool transpose_b = args.boolean();
  a.backend().matmul(a, b, bias, c, transpose_a, transpose_b);
}

}  // namespace

void expose_matmul(Napi::Env env, Napi::Object& exports) { expose<matmul>(env, exports, "matmul"); }

}  // namespace sn::binding

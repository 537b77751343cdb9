// Which algorithm runs a pass of a convolution.
#include "cuda/convolution/patch_gemm.h"

namespace sn::cuda {
namespace {

bool any(const ConvProblem&, ConvPass) { return true; }
bool has_exact_products(const ConvProblem& p, ConvPass) {
  return p.dtype == DType::f64 || p.precision == Precision::fp32;
}
bool has_groups(const ConvProblem& p, ConvPass) { return p.geometry.groups > 1; }
bool is_dilated(const ConvProblem& p, ConvPass) { return p.geometry.dilation_h > 1 || p.geometry.dilation_w > 1; }
bool goes_back_strided(const ConvProblem& p, ConvPass pass) {
  return pass == ConvPass::backward_data && (p.geometry.stride_h > 1 || p.geometry.stride_w > 1);
}

const PatchGemm patch_gemm;

struct Rule {
  bool (*applies)(const ConvProblem&, ConvPass);
  ConvChoice choice;
};

// The first rule that applies decides. Another algorithm goes in before the last one: the rules above it name
// what only patch GEMM can do.
const Rule rules[] = {
    {has_exact_products, {&patch_gemm, "products of float64, or of float32 without rounding"}},
    {has_groups, {&patch_gemm, "groups are many small products, which cuBLAS takes as a batch"}},
    {is_dilated, {&patch_gemm, "neighbouring dilated windows share few pixels"}},
    {goes_back_strided, {&patch_gemm, "neighbouring pixels are seen by different taps of strided windows"}},
    {any, {&patch_gemm, "patch GEMM takes every shape"}},
};

}  // namespace

ConvChoice choose_algorithm(const ConvProblem& problem, ConvPass pass) {
  const Rule* rule = rules;
  while (!rule->applies(problem, pass)) ++rule;
  return rule->choice;
}

}  // namespace sn::cuda

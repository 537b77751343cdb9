#include "cpu/kernels/make.h"
#include "cpu/kernels/parallel.h"
#include "math/optimizers.h"

namespace sn::cpu::SN_ISA {
namespace {

template <typename T>
void adam(const AdamParameter<T>* parameters, std::size_t how_many, const AdamOptions& options) {
  const math::AdamFactors<T> factors = math::adam_factors<T>(options);
  for (std::size_t i = 0; i < how_many; ++i) {
    const AdamParameter<T> p = parameters[i];
    for_each_element(p.count, [=](std::int64_t j) {
      math::adam_update(factors, p.gradient[j], p.parameter[j], p.first_moment[j], p.second_moment[j]);
    });
  }
}

template <typename T>
void sgd(T* parameter, const T* gradient, T* velocity, const SgdOptions& options, std::int64_t count) {
  const math::SgdFactors<T> factors = math::sgd_factors<T>(options);
  if (velocity == nullptr) {
    return for_each_element(count, [=](std::int64_t i) { math::sgd_update(factors, gradient[i], parameter[i]); });
  }
  for_each_element(count, [=](std::int64_t i) { math::sgd_update(factors, gradient[i], parameter[i], velocity[i]); });
}

}  // namespace

template <typename T>
OptimizerKernels<T> make_optimizer_kernels() {
  return {adam<T>, sgd<T>};
}

template OptimizerKernels<float> make_optimizer_kernels();
template OptimizerKernels<double> make_optimizer_kernels();

}  // namespace sn::cpu::SN_ISA

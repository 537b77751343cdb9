#include <cmath>

#include "cpu/loops/make.h"
#include "cpu/loops/parallel.h"
#include "math/angular.h"

namespace sn::cpu::SN_ISA {
namespace {

// As torch.optim.Adam and AdamW, to the order of the operations.
template <typename T>
void adam(T* parameter, const T* gradient, T* first_moment, T* second_moment, const AdamOptions& options,
          std::int64_t count) {
  const T beta1 = T(options.beta1), new_share1 = T(1 - options.beta1);
  const T beta2 = T(options.beta2), new_share2 = T(1 - options.beta2);
  const T step_size = T(options.learning_rate / (1 - pow(options.beta1, options.step)));
  const T inverse_root = T(1 / sqrt(1 - pow(options.beta2, options.step)));
  const T eps = T(options.eps);
  const T penalty = options.decoupled ? T(0) : T(options.weight_decay);
  const T shrink = options.decoupled ? T(1 - options.learning_rate * options.weight_decay) : T(1);
  for_each_element(count, [=](std::int64_t i) {
    const T g = gradient[i] + penalty * parameter[i];
    const T m = beta1 * first_moment[i] + new_share1 * g;
    const T v = beta2 * second_moment[i] + new_share2 * g * g;
    first_moment[i] = m;
    second_moment[i] = v;
    parameter[i] = shrink * parameter[i] - step_size * m / (math::square_root(v) * inverse_root + eps);
  });
}

template <typename T>
void descend(T* parameter, const T* gradient, const SgdOptions& options, std::int64_t count) {
  const T rate = T(options.learning_rate);
  const T penalty = T(options.weight_decay);
  for_each_element(count, [=](std::int64_t i) { parameter[i] -= rate * (gradient[i] + penalty * parameter[i]); });
}

// As torch.optim.SGD without dampening.
template <typename T>
void sgd(T* parameter, const T* gradient, T* velocity, const SgdOptions& options, std::int64_t count) {
  if (velocity == nullptr) return descend(parameter, gradient, options, count);
  const T rate = T(options.learning_rate);
  const T penalty = T(options.weight_decay);
  const T kept = T(options.momentum);
  const T ahead = options.nesterov ? kept : T(1);
  const T direct = options.nesterov ? T(1) : T(0);
  const bool first = options.first;  // what the velocity holds is then undefined, and may be NaN
  for_each_element(count, [=](std::int64_t i) {
    const T g = gradient[i] + penalty * parameter[i];
    const T v = first ? g : kept * velocity[i] + g;
    velocity[i] = v;
    parameter[i] -= rate * (direct * g + ahead * v);
  });
}

}  // namespace

template <typename T>
OptimizerLoops<T> make_optimizer_loops() {
  return {adam<T>, sgd<T>};
}

template OptimizerLoops<float> make_optimizer_loops();
template OptimizerLoops<double> make_optimizer_loops();

}  // namespace sn::cpu::SN_ISA

#include <cmath>

#include "cpu/backend.h"
#include "core/dispatch.h"

namespace sn::cpu {

void CpuBackend::adam_step(const std::vector<Tensor>& parameters, const std::vector<Tensor>& gradients,
                           const std::vector<Tensor>& first_moments, const std::vector<Tensor>& second_moments,
                           const AdamOptions& options) {
  const auto update = [&](DType dtype) {
    by_dtype(dtype, [&](auto tag) {
      using T = decltype(tag);
      std::vector<AdamParameter<T>> all;
      all.reserve(parameters.size());
      for (std::size_t i = 0; i < parameters.size(); ++i) {
        if (parameters[i].dtype != dtype) continue;
        all.push_back({parameters[i].write<T>(), gradients[i].read<T>(), first_moments[i].write<T>(),
                       second_moments[i].write<T>(), parameters[i].count()});
      }
      if (!all.empty()) kernels_.of<T>().optimizer.adam(all.data(), all.size(), options);
    });
  };
  update(DType::f32);
  update(DType::f64);
}

void CpuBackend::sgd_step(const std::vector<Tensor>& parameters, const std::vector<Tensor>& gradients,
                          const std::vector<Tensor>& velocities, const SgdOptions& options) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    by_dtype(parameters[i].dtype, [&](auto tag) {
      using T = decltype(tag);
      T* velocity = options.momentum != 0 ? velocities[i].write<T>() : nullptr;
      kernels_.of<T>().optimizer.sgd(parameters[i].write<T>(), gradients[i].read<T>(), velocity, options,
                                   parameters[i].count());
    });
  }
}

void CpuBackend::global_norm(const std::vector<Tensor>& tensors, const Tensor& out) {
  double squares = 0;
  for (const Tensor& tensor : tensors) {
    by_dtype(tensor.dtype, [&](auto tag) {
      using T = decltype(tag);
      squares += kernels_.of<T>().element.sum_of_squares(tensor.read<T>(), tensor.count());
    });
  }
  fill(std::sqrt(squares), out);
}

}  // namespace sn::cpu

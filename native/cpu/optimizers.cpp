#include <cmath>

#include "core/dispatch.h"
#include "cpu/backend.h"

namespace sn::cpu {

void CpuBackend::adam_step(const std::vector<Tensor>& parameters, const std::vector<Tensor>& gradients,
                           const std::vector<Tensor>& first_moments, const std::vector<Tensor>& second_moments,
                           const AdamOptions& options) {
  by_dtype(parameters.front().dtype, [&](auto tag) {
    using T = decltype(tag);
    std::vector<AdamParameter<T>> all;
    all.reserve(parameters.size());
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      all.push_back({parameters[i].write<T>(), gradients[i].read<T>(), first_moments[i].write<T>(),
                     second_moments[i].write<T>(), parameters[i].count()});
    }
    kernels_.of<T>().optimizer.adam(all.data(), all.size(), options);
  });
}

void CpuBackend::sgd_step(const std::vector<Tensor>& parameters, const std::vector<Tensor>& gradients,
                          const OptionalTensors& velocities, const SgdOptions& options) {
  by_dtype(parameters.front().dtype, [&](auto tag) {
    using T = decltype(tag);
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      T* velocity = !velocities.empty() ? velocities[i].write<T>() : nullptr;
      kernels_.of<T>().optimizer.sgd(parameters[i].write<T>(), gradients[i].read<T>(), velocity, options,
                                     parameters[i].count());
    }
  });
}

void CpuBackend::global_norm(const std::vector<Tensor>& tensors, const Tensor& out) {
  by_dtype(out.dtype, [&](auto tag) {
    using T = decltype(tag);
    double squares = 0;
    for (const Tensor& tensor : tensors) {
      squares += kernels_.of<T>().element.sum_of_squares(tensor.read<T>(), tensor.count());
    }
    *out.write<T>() = static_cast<T>(std::sqrt(squares));
  });
}

}  // namespace sn::cpu

#include "binding/environment.h"

#include "cpu/device.h"
#include "cuda/device.h"

namespace sn::binding {

const std::vector<Device>& devices() {
  static const std::vector<Device> all{cpu::device(), cuda::device()};
  return all;
}

Backend* Environment::device(const std::string& name) {
  for (std::size_t i = 0; i < devices().size(); ++i) {
    if (name != devices()[i].name) continue;
    if (!backends_[i]) {
      backends_[i] = devices()[i].make_backend();
      backends_[i]->set_matmul_precision(precision_);
    }
    return backends_[i].get();
  }
  return nullptr;
}

void Environment::set_matmul_precision(Precision precision) {
  precision_ = precision;
  for (const auto& backend : backends_) {
    if (backend) backend->set_matmul_precision(precision);
  }
}

Environment& environment(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

}  // namespace sn::binding

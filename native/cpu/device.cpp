#include "cpu/device.h"

#include "cpu/backend.h"
#include "cpu/dnnl.h"

namespace sn::cpu {

const Device& device() {
  static const Device cpu{device_name, [] { return std::unique_ptr<Backend>(std::make_unique<CpuBackend>()); },
                          [](const std::exception& raised) {
                            const auto* error = dynamic_cast<const dnnl::error*>(&raised);
                            return error != nullptr && error->status == dnnl_out_of_memory;
                          }};
  return cpu;
}

std::vector<double> benchmark_convolution(Backend& cpu, const Tensor& x, const Tensor& w, const Tensor& y,
                                          const ConvGeometry& geometry, int repeats) {
  DnnlConvolution direct(ConvolutionShape::of(x.shape[0], x, w, y, geometry), static_cast<CpuBackend&>(cpu).dnnl(),
                         DnnlConvolution::Algorithm::direct);
  return direct.benchmark(x.read<float>(), w, y.write<float>(), repeats);
}

}  // namespace sn::cpu

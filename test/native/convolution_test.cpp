// What is fastest on this processor, Winograd's algorithm or blocks of channels, gives what the direct convolution gives
// on images as they are.
#include <array>
#include <cmath>
#include <vector>

#include "check.h"
#include "cpu/backend.h"
#include "cpu/dnnl.h"
#include "cpu/system_memory.h"

using namespace sn;
using namespace sn::cpu;

namespace {

struct Operands {
  Operands(CpuBackend& backend, std::int64_t images, std::int64_t channels, std::int64_t filters, std::int64_t size)
      : x(varied(backend, {images, size, size, channels}, 0.37)),
        w(varied(backend, {filters, 3, 3, channels}, 0.71)),
        dy(varied(backend, {images, size, size, filters}, 1.13)) {}

  static Tensor varied(CpuBackend& backend, const Shape& shape, double step) {
    Tensor tensor{nullptr, DType::f32, shape};
    tensor.storage = backend.allocate(tensor.bytes());
    float* values = tensor.write<float>();
    for (std::int64_t i = 0; i < tensor.count(); ++i) values[i] = static_cast<float>(std::sin(step * double(i * i % 9973)));
    return tensor;
  }

  Tensor x, w, dy;
};

struct Results {
  std::vector<float> y, dx, dw;
};

Results run(DnnlState& state, const Operands& operands, Algorithms algorithms) {
  const ConvGeometry geometry{{3, 3, 1, 1, 1, 1, 1, 1}, 1};
  const auto& [x, w, dy] = operands;
  Convolution convolution(Convolution::key(x.shape[0], x, w, dy, geometry, false), state, algorithms);
  const auto room = [](const Tensor& tensor) { return std::vector<float>(static_cast<std::size_t>(tensor.count())); };
  Results results{room(dy), room(x), room(w)};
  convolution.forward(x.read<float>(), w, nullptr, results.y.data());
  convolution.backward_data(dy.read<float>(), w, results.dx.data());
  convolution.backward_weights(x.read<float>(), dy.read<float>(), results.dw.data(), nullptr);
  return results;
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double worst = 0, largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    worst = std::fmax(worst, std::fabs(double(a[i]) - double(b[i])));
    largest = std::fmax(largest, std::fabs(double(b[i])));
  }
  return worst / largest;
}

}  // namespace

SN_TEST(fastest_agrees, "the fastest convolution is within 5e-6 of the direct one") {
  CpuBackend backend;
  DnnlState state(std::make_shared<Allocator>(std::make_shared<SystemMemory>()));
  for (const auto& [images, channels, filters, size] :
       {std::array{3, 64, 64, 13}, std::array{1, 32, 48, 7}, std::array{2, 130, 64, 8}}) {
    const Operands operands(backend, images, channels, filters, size);
    const Results direct = run(state, operands, Algorithms::direct);
    const Results fastest = run(state, operands, Algorithms::fastest);
    SN_CHECK_BELOW(distance(fastest.y, direct.y), 5e-6);
    SN_CHECK_BELOW(distance(fastest.dx, direct.dx), 5e-6);
    SN_CHECK_BELOW(distance(fastest.dw, direct.dw), 5e-6);
  }
}

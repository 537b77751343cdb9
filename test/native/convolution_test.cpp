// Every algorithm gives what oneDNN's direct convolution gives, Winograd's with every instruction set; and what is
// cached of convolutions and filters has a bound.
#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "cpu/backend.h"
#include "cpu/dnnl.h"
#include "cpu/filter_cache.h"
#include "cpu/system_memory.h"
#include "cpu/winograd.h"

using namespace sn;
using namespace sn::cpu;

namespace {

struct Case {
  std::int64_t images, channels, filters, height, width;
  int padding_h, padding_w;
};

const std::vector<Case> cases{
    {3, 64, 64, 13, 13, 1, 1},   // tiles reach over the edge
    {24, 32, 48, 7, 9, 1, 0},    // no padding along one axis
    {9, 130, 64, 8, 8, 1, 1},    // channels beyond whole vectors
    {18, 29, 21, 16, 15, 1, 1},  // filters too, and more tiles than are added up at once
    {28, 16, 16, 10, 12, 0, 2},  // the least of channels, the widest padding
};

Tensor varied(Backend& backend, const Shape& shape, double step) {
  Tensor tensor{nullptr, DType::f32, shape};
  tensor.storage = backend.allocate(tensor.bytes());
  float* values = tensor.write<float>();
  for (std::int64_t i = 0; i < tensor.count(); ++i) {
    values[i] = static_cast<float>(std::sin(step * static_cast<double>(i * i % 9973)));
  }
  return tensor;
}

struct Operands {
  Operands(Backend& backend, const Case& c)
      : geometry{{3, 3, 1, 1, c.padding_h, c.padding_w, 1, 1}, 1},
        x(varied(backend, {c.images, c.height, c.width, c.channels}, 0.37)),
        w(varied(backend, {c.filters, 3, 3, c.channels}, 0.71)), bias(varied(backend, {c.filters}, 2.3)),
        dy(varied(backend, output(c), 1.13)) {}

  static Shape output(const Case& c) {
    return {c.images, c.height + 2 * c.padding_h - 2, c.width + 2 * c.padding_w - 2, c.filters};
  }

  ConvolutionShape shape() const { return ConvolutionShape::of(x.shape[0], x, w, dy, geometry, true); }

  ConvGeometry geometry;
  Tensor x, w, bias, dy;
};

struct Results {
  std::vector<float> y, dx, dw;
};

Results run(Convolution& convolution, const Operands& operands) {
  const auto like = [](const Tensor& tensor) { return std::vector<float>(static_cast<std::size_t>(tensor.count())); };
  const auto& [geometry, x, w, bias, dy] = operands;
  Results results{like(dy), like(x), like(w)};
  convolution.forward(x.read<float>(), w, bias.read<float>(), results.y.data());
  convolution.backward_data(dy.read<float>(), w, results.dx.data());
  convolution.backward_weights(x.read<float>(), dy.read<float>(), results.dw.data());
  return results;
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double worst = 0, largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i])) return std::numeric_limits<double>::infinity();
    worst = std::fmax(worst, std::fabs(double(a[i]) - double(b[i])));
    largest = std::fmax(largest, std::fabs(double(b[i])));
  }
  return worst / largest;
}

// Backends make Convolutions of their own; here they only hold memory.
struct Fixture {
  CpuBackend backend;
  DnnlState state{std::make_shared<Allocator>(std::make_shared<SystemMemory>())};

  Results direct(const Operands& operands) {
    DnnlConvolution convolution(operands.shape(), state, DnnlConvolution::Algorithm::direct);
    return run(convolution, operands);
  }
};

void check_close(const Results& found, const Results& expected) {
  SN_CHECK_BELOW(distance(found.y, expected.y), 5e-6);
  SN_CHECK_BELOW(distance(found.dx, expected.dx), 5e-6);
  SN_CHECK_BELOW(distance(found.dw, expected.dw), 5e-6);
}

}  // namespace

SN_TEST(fastest_agrees, "the fastest convolution is within 5e-6 of the direct one") {
  Fixture fixture;
  Convolutions convolutions(fixture.backend, fixture.state, best_kernels().winograd);
  for (const Case& each : cases) {
    const Operands operands(fixture.backend, each);
    SN_CHECK(WinogradConvolution::suits(operands.shape()));
    check_close(run(*convolutions.of(operands.shape()), operands), fixture.direct(operands));
  }
}

SN_TEST(winograd_agrees, "Winograd's convolution is within 5e-6 of the direct one with every instruction set") {
  Fixture fixture;
  for (const Case& each : cases) {
    const Operands operands(fixture.backend, each);
    const Results direct = fixture.direct(operands);
    for (const Kernels* kernels : usable_kernels()) {
      WinogradConvolution convolution(operands.shape(), fixture.backend, kernels->winograd);
      check_close(run(convolution, operands), direct);
    }
  }
}

SN_TEST(filters_are_fresh, "what is cached of filters is made anew when they change, or are read in another shape") {
  Fixture fixture;
  Operands operands(fixture.backend, {28, 17, 16, 10, 12, 1, 1}), other(fixture.backend, {28, 16, 17, 10, 12, 1, 1});
  const Results before = fixture.direct(operands);
  WinogradConvolution convolution(operands.shape(), fixture.backend, best_kernels().winograd);
  check_close(run(convolution, operands), before);
  operands.w.write<float>()[5] += 1;
  const Results after = fixture.direct(operands);
  SN_CHECK(distance(after.y, before.y) > 1e-3 && distance(after.dx, before.dx) > 1e-3);
  check_close(run(convolution, operands), after);

  other.w.storage = operands.w.storage;
  WinogradConvolution other_convolution(other.shape(), fixture.backend, best_kernels().winograd);
  check_close(run(other_convolution, other), fixture.direct(other));
  check_close(run(convolution, operands), after);
}

SN_TEST(convolutions_are_bounded,
        "thousands of input sizes leave the convolutions of the latest, and those held live on") {
  Fixture fixture;
  Convolutions convolutions(fixture.backend, fixture.state, best_kernels().winograd);
  const Operands operands(fixture.backend, cases.front());
  const auto held = convolutions.of(operands.shape());
  const ConvGeometry pointwise{{1, 1, 1, 1, 0, 0, 1, 1}, 1};
  const auto shape = [&](std::int64_t size) { return ConvolutionShape{1, size, 1, 1, size, 1, 1, pointwise, false}; };
  constexpr std::int64_t sizes = 10000;
  for (std::int64_t size = 1; size <= sizes; ++size) {
    convolutions.of(shape(size));
    SN_CHECK(convolutions.size() <= Convolutions::capacity);
  }
  SN_CHECK(convolutions.size() == Convolutions::capacity);
  SN_CHECK(convolutions.of(shape(sizes)) == convolutions.of(shape(sizes)));
  const auto oldest_left = convolutions.of(shape(sizes - Convolutions::capacity + 1));
  convolutions.of(shape(sizes + 1));
  SN_CHECK(convolutions.of(shape(sizes - Convolutions::capacity + 1)) == oldest_left);
  SN_CHECK(convolutions.of(operands.shape()) != held);
  check_close(run(*held, operands), fixture.direct(operands));
}

SN_TEST(packed_filters_are_bounded, "filters keep the packed layouts that were asked for last") {
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  const auto layout = [](std::int64_t stride) {
    return dnnl::memory::desc({8}, dnnl::memory::data_type::f32, dnnl::memory::dims{stride});
  };
  PackedFilters packed;
  packed.in(layout(1), engine).filled = true;
  for (std::int64_t stride = 2; stride < 1000; ++stride) {
    packed.in(layout(stride), engine).filled = true;
    SN_CHECK(packed.size() <= PackedFilters::capacity);
    SN_CHECK(packed.in(layout(1), engine).filled);
  }
  SN_CHECK(packed.size() == PackedFilters::capacity);
  SN_CHECK(!packed.in(layout(2), engine).filled);
}

SN_TEST(winograd_suits, "Winograd's convolution is for 3x3 filters of stride 1 with enough channels and pixels") {
  const auto shape = [](std::int64_t images, std::int64_t channels, std::int64_t filters, const ConvGeometry& geometry,
                        std::int64_t size = 16) {
    return ConvolutionShape{images, size, size, channels, size, size, filters, geometry, false};
  };
  const ConvGeometry plain{{3, 3, 1, 1, 1, 1, 1, 1}, 1};
  SN_CHECK(WinogradConvolution::suits(shape(8, 16, 16, plain)));
  SN_CHECK(!WinogradConvolution::suits(shape(1, 16, 16, plain)));
  SN_CHECK(!WinogradConvolution::suits(shape(8, 3, 16, plain)));
  SN_CHECK(!WinogradConvolution::suits(shape(8, 16, 4, plain)));
  // Tiles beyond the edge.
  SN_CHECK(!WinogradConvolution::suits(shape(80, 16, 16, plain, 5)));
  SN_CHECK(WinogradConvolution::suits(shape(80, 64, 64, plain, 7)));
  const std::vector<ConvGeometry> others{{{3, 3, 2, 2, 1, 1, 1, 1}, 1},
                                         {{3, 3, 1, 1, 1, 1, 2, 2}, 1},
                                         {{3, 3, 1, 1, 1, 3, 1, 1}, 1},
                                         {{3, 3, 1, 1, 1, 1, 1, 1}, 2},
                                         {{5, 5, 1, 1, 2, 2, 1, 1}, 1}};
  for (const ConvGeometry& other : others) SN_CHECK(!WinogradConvolution::suits(shape(8, 16, 16, other)));
}

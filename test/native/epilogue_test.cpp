// The epilogue of the cpu device in every combination of its steps, fused behind an operator and by itself, against the
// formula in float64.
#include <cmath>
#include <vector>

#include "check.h"
#include "cpu/backend.h"

using namespace sn;
using namespace sn::cpu;

namespace {

// Enough for several chunks of images; channels that fill no whole vectors.
constexpr std::int64_t images = 40, size = 33, channels = 3, filters = 20;

struct Fixture {
  CpuBackend backend;

  Tensor empty(const Shape& shape, DType dtype = DType::f32) {
    Tensor tensor{nullptr, dtype, shape};
    tensor.storage = backend.allocate(tensor.bytes());
    return tensor;
  }
  Tensor varied(const Shape& shape, double step, double offset = 0) {
    Tensor tensor = empty(shape);
    float* values = tensor.write<float>();
    for (std::int64_t i = 0; i < tensor.count(); ++i) {
      values[i] = static_cast<float>(offset + std::sin(step * static_cast<double>(i * i % 9973)));
    }
    return tensor;
  }

  const ConvGeometry geometry{{3, 3, 1, 1, 1, 1, 1, 1}, 1};
  const Shape output{images, size, size, filters};
  const Tensor x = varied({images, size, size, channels}, 0.37), w = varied({filters, 3, 3, channels}, 0.71);
  const Tensor residual = varied(output, 1.13);
  const Normalization normalization{varied({filters}, 0.3, 1.5), varied({filters}, 0.9), varied({filters}, 1.7, 0.2),
                                    varied({filters}, 2.9, 1.5), 1e-5};
};

double at(const Tensor& tensor, std::int64_t i) { return double(tensor.read<float>()[i]); }

double worst_error(const Tensor& found, const Tensor& y, const Epilogue& epilogue) {
  double worst = 0;
  for (std::int64_t i = 0; i < y.count(); ++i) {
    double expected = at(y, i);
    if (epilogue.normalization) {
      const Normalization& n = *epilogue.normalization;
      const std::int64_t c = i % filters;
      expected = (expected - at(n.mean, c)) / std::sqrt(at(n.variance, c) + n.eps) * at(n.gamma, c) + at(n.beta, c);
    }
    if (epilogue.residual) expected += at(epilogue.residual, i);
    if (epilogue.relu) expected = std::fmax(0, expected);
    const double error = std::fabs(at(found, i) - expected);
    worst = std::isfinite(error) ? std::fmax(worst, error) : 1e30;
  }
  return worst;
}

template <typename Body>
void for_each_epilogue(const Fixture& f, Body body) {
  for (int steps = 0; steps < 8; ++steps) {
    Epilogue epilogue;
    if (steps & 1) epilogue.normalization = f.normalization;
    if (steps & 2) epilogue.residual = f.residual;
    epilogue.relu = (steps & 4) != 0;
    body(epilogue);
  }
}

}  // namespace

SN_TEST(epilogue_forward, "an operator gives its output through any epilogue, in place and into another tensor") {
  Fixture f;
  const auto check = [&](const Tensor& plain, auto&& run) {
    run(plain, Epilogue{});
    for_each_epilogue(f, [&](Epilogue epilogue) {
      const Tensor in_place = f.empty(f.output);
      run(in_place, epilogue);
      SN_CHECK_BELOW(worst_error(in_place, plain, epilogue), 1e-5);
      if (!epilogue) return;
      const Tensor y = f.empty(f.output);
      epilogue.output = f.empty(f.output);
      run(y, epilogue);
      SN_CHECK(worst_error(y, plain, {}) == 0);
      SN_CHECK(worst_error(epilogue.output, in_place, {}) == 0);
    });
  };
  check(f.empty(f.output), [&](const Tensor& y, const Epilogue& epilogue) {
    f.backend.conv2d_forward(f.x, f.w, {}, y, f.geometry, epilogue);
  });
  check(f.empty(f.output), [&](const Tensor& y, const Epilogue& epilogue) {
    f.backend.sphere_conv2d_forward(f.x, f.w, {}, {}, y, {}, f.geometry, {Angular{}, 0.3, {1e-6, false}}, epilogue);
  });
  const Tensor before = f.varied(f.output, 0.41);
  check(f.empty(f.output), [&](const Tensor& y, const Epilogue& epilogue) {
    Epilogue alone = epilogue;
    alone.output = {};
    if (epilogue.output || !epilogue) f.backend.copy(before, y);
    f.backend.batch_norm_forward(before, epilogue.output ? epilogue.output : y, alone);
  });
}

SN_TEST(epilogue_statistics, "an epilogue normalises by the statistics of the whole batch, which it writes") {
  Fixture f;
  const Tensor plain = f.empty(f.output), y = f.empty(f.output);
  f.backend.conv2d_forward(f.x, f.w, {}, plain, f.geometry, {});
  Epilogue epilogue;
  epilogue.normalization = f.normalization;
  epilogue.normalization->mean = f.empty({filters});
  epilogue.normalization->variance = f.empty({filters});
  const Tensor running_mean = f.varied({filters}, 0.2), running_variance = f.varied({filters}, 0.6, 2);
  epilogue.statistics = BatchStatistics{epilogue.normalization->mean, epilogue.normalization->variance, running_mean,
                                        running_variance, 0.25};
  epilogue.output = f.empty(f.output);
  const double before = at(running_mean, 5);
  f.backend.conv2d_forward(f.x, f.w, {}, y, f.geometry, epilogue);
  SN_CHECK_BELOW(worst_error(epilogue.output, plain, epilogue), 1e-5);
  const std::int64_t pixels = plain.count() / filters;
  double mean = 0, variance = 0;
  for (std::int64_t i = 0; i < pixels; ++i) mean += at(plain, i * filters + 5) / double(pixels);
  for (std::int64_t i = 0; i < pixels; ++i) variance += std::pow(at(plain, i * filters + 5) - mean, 2) / double(pixels);
  SN_CHECK_BELOW(std::fabs(at(epilogue.normalization->mean, 5) - mean), 1e-6);
  SN_CHECK_BELOW(std::fabs(at(epilogue.normalization->variance, 5) / variance - 1), 1e-5);
  SN_CHECK_BELOW(std::fabs(at(running_mean, 5) - (0.75 * before + 0.25 * mean)), 1e-6);
}

SN_TEST(epilogue_backward,
        "the ReLU behind a residual is open where the sum is positive, and dresidual is what passes") {
  Fixture f;
  const Tensor y = f.varied(f.output, 0.41), dy = f.varied(f.output, 0.83), dx = f.empty(f.output);
  const Tensor dresidual = f.empty(f.output), dgamma = f.empty({filters}), dbeta = f.empty({filters});
  for (bool relu : {false, true}) {
    for (bool with_residual : {false, true}) {
      Epilogue forward;
      forward.normalization = f.normalization;
      if (with_residual) forward.residual = f.residual;
      const Tensor sum = f.empty(f.output), masked = f.empty(f.output);
      f.backend.batch_norm_forward(y, sum, forward);
      for (std::int64_t i = 0; i < dy.count(); ++i) {
        masked.write<float>()[i] = relu && at(sum, i) <= 0 ? 0.0f : dy.read<float>()[i];
      }
      f.backend.batch_norm_backward(dy, dx, {y, f.normalization, forward.residual, dgamma, dbeta, dresidual, relu});
      SN_CHECK(worst_error(dresidual, masked, {}) == 0);
      // From there on as without a ReLU and a residual.
      const Tensor expected = f.empty(f.output), dgamma_of = f.empty({filters}), dbeta_of = f.empty({filters});
      f.backend.batch_norm_backward(masked, expected, {y, f.normalization, {}, dgamma_of, dbeta_of, {}, false});
      SN_CHECK_BELOW(worst_error(dx, expected, {}), 1e-6);
      for (std::int64_t c = 0; c < filters; ++c) {
        SN_CHECK_BELOW(std::fabs(at(dbeta, c) - at(dbeta_of, c)), 1e-3);
        SN_CHECK_BELOW(std::fabs(at(dgamma, c) - at(dgamma_of, c)), 1e-3);
      }
    }
  }
}

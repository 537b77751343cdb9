// Every instruction set this processor has gives what the baseline gives.
#include <cmath>
#include <vector>

#include "check.h"
#include "cpu/kernels/kernels.h"

using namespace sn;
using namespace sn::cpu;

namespace {

constexpr int positions = 37, filters = 21, most_copies = 16, columns = most_copies * filters;

struct Results {
  std::vector<float> s, y, v, r;
  std::vector<double> totals;
};

// Rows of g's constants and a bias for each column.
std::vector<float> block_of(Angular angular) {
  std::vector<float> block;
  math::by_angular<float>(angular, [&](auto type) {
    using G = typename decltype(type)::type;
    block.resize(static_cast<std::size_t>(G::parameters * columns));
    for (int o = 0; o < columns; ++o) {
      G::make(0.2 + 0.05 * static_cast<double>(o % filters)).store(block.data() + o, columns);
    }
  });
  return block;
}

Results run(const Kernels& kernels, Angular angular, int copies = most_copies) {
  const auto size = static_cast<std::size_t>(positions * filters);
  Results results{std::vector<float>(size), std::vector<float>(size), std::vector<float>(size),
                  std::vector<float>(positions), std::vector<double>(3 * filters, 0.0)};
  std::vector<float> dy(size), inverse(positions), bias(columns);
  std::vector<int> owner(columns);
  for (std::size_t i = 0; i < size; ++i) {
    results.s[i] = static_cast<float>(std::sin(0.37 * static_cast<double>(i)) * 1.02);  // a little beyond 1, too
    dy[i] = static_cast<float>(std::cos(1.7 * static_cast<double>(i)));
  }
  for (std::size_t p = 0; p < positions; ++p) inverse[p] = p % 5 == 0 ? 0.0f : 1.0f;
  for (std::size_t o = 0; o < columns; ++o) {
    owner[o] = static_cast<int>(o) / filters;
    bias[o] = static_cast<float>(o % filters) * 0.01f;
  }
  const std::vector<float> constants = block_of(angular);
  const SphereFilters<float> per_filter{{constants.data(), columns}, bias.data()};
  std::vector<float> block((4 * columns + block_gap) * 64);
  std::vector<double> thread(3 * columns * 64);
  double* totals = results.totals.data();
  const SphereSums<float> sums{totals, totals + filters, totals + 2 * filters, block.data(), thread.data()};
  const SphereRows rows{positions, filters, 1, copies, owner.data()};
  const SphereKernels<float>& sphere = kernels.f32.sphere;
  sphere.forward(angular, results.s.data(), results.y.data(), inverse.data(), rows, per_filter);
  sphere.backward(angular, dy.data(), results.s.data(), inverse.data(), results.v.data(), results.r.data(), rows,
                  per_filter, sums);
  return results;
}

template <typename Body>
void for_each_angular(Body body) {
  for (int code = 0; code < math::AngularFunctions<float>::size; ++code) body(static_cast<Angular>(code));
}

template <typename T>
double distance(const std::vector<T>& a, const std::vector<T>& b) {
  double worst = 0, largest = 1e-30;
  for (std::size_t i = 0; i < a.size(); ++i) {
    worst = std::fmax(worst, std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    largest = std::fmax(largest, std::fabs(static_cast<double>(a[i])));
  }
  return worst / largest;
}

}  // namespace

SN_TEST(kernels_agree, "SphereConv's kernels agree between instruction sets") {
  const auto all = usable_kernels();
  for_each_angular([&](Angular angular) {
    const Results expected = run(*all.front(), angular);
    for (const Kernels* kernels : all) {
      const Results got = run(*kernels, angular);
      SN_CHECK_BELOW(distance(expected.s, got.s), 1e-6);
      SN_CHECK_BELOW(distance(expected.y, got.y), 2e-6);
      SN_CHECK_BELOW(distance(expected.v, got.v), 1e-5);
      SN_CHECK_BELOW(distance(expected.r, got.r), 1e-5);
      SN_CHECK_BELOW(distance(expected.totals, got.totals), 1e-5);
    }
  });
}

SN_TEST(copies_agree, "SphereConv's kernels give the same for any number of positions side by side") {
  for_each_angular([](Angular angular) {
    const Results expected = run(best_kernels(), angular);
    for (int copies : {1, 2}) {
      const Results got = run(best_kernels(), angular, copies);
      SN_CHECK_BELOW(distance(expected.y, got.y), 2e-6);
      SN_CHECK_BELOW(distance(expected.v, got.v), 1e-5);
      SN_CHECK_BELOW(distance(expected.r, got.r), 1e-5);
      SN_CHECK_BELOW(distance(expected.totals, got.totals), 1e-5);
    }
  });
}

SN_TEST(zero_patches, "a patch without length gives cosine 0 and passes nothing back") {
  for_each_angular([](Angular angular) {
    const Results results = run(best_kernels(), angular);
    for (std::size_t o = 0; o < filters; ++o) {
      SN_CHECK(results.s[o] == 0.0f);
      SN_CHECK(results.v[o] == 0.0f);
    }
    SN_CHECK(results.r[0] == 0.0f);
  });
}

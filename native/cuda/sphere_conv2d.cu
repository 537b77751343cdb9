// SphereConv: the products of a convolution with an epilogue (cuda/convolution/epilogue.h), and one pass of ours before
// the products of the backward. With T = the size of the output: the epilogue reads the products (still in L2) and
// writes s and y; backward reads dy and s and writes v = u / (|p||w|), one number a window and partial sums of 3
// numbers a filter. Patches come with their norms, and their transpose with the radial part of dx.
#include "cuda/convolution/convolution.h"
#include "cuda/convolution/epilogue.h"
#include "cuda/convolution/operands.h"
#include "cuda/elements.h"

namespace sn::cuda {
namespace {

// The outputs of one convolution: rows of `filters`, `width` of them in each group.
struct OutputShape {
  std::int64_t windows;
  int filters, groups, width;
};

OutputShape output_shape(const Tensor& y, int groups) {
  const auto filters = static_cast<int>(y.shape[3]);
  return {y.count() / filters, filters, groups, filters / groups};
}

// The constants of each filter's g, from one k for all, one each, or a fixed one.
template <typename G, typename T>
struct FilterParameters {
  const T* k;  // may be null
  double fixed_k;
  bool shared;
  int filters;
  T* out;
  __device__ void operator()(std::int64_t o) const {
    G::make(k != nullptr ? static_cast<double>(k[shared ? 0 : o]) : fixed_k).store(out + o, filters);
  }
};

// What the backward pass takes and writes.
template <typename Operand>
struct BackwardArrays {
  using T = typename Operand::Value;
  const T* dy;
  const T* saved;
  const T* inv_patch_norm;
  const T* inv_filter_norm;
  typename Operand::Element* v;  // u / (|p||w|)
  T* r;                          // [window][group]: sum over filters of u s / |p|^2
  T* partial;                    // [block][3][filter]: sums of u s, dy dg/dk and dy over the block's windows
};

constexpr int backward_warps = 8;
constexpr int windows_per_warp = 16;
constexpr int windows_per_block = backward_warps * windows_per_warp;

// A block takes 128 windows of one group, warp by warp, and the filters 32 lanes at a time: sums over filters meet
// within the warp, sums over windows within the block. Reads dy and what was saved, writes v: 3 T.
// The 1: left to itself, the compiler spills a register or two to fit one more block.
template <typename Operand, typename G, bool with_dk, int pack>
__global__ void __launch_bounds__(backward_warps* warp_size, 1)
    backward_kernel(const BackwardArrays<Operand> arrays,
                    const math::FilterAngular<G, typename Operand::Value, Operand::rounded> g,
                    const OutputShape shape) {
  using T = typename Operand::Value;
  SN_SHARED(T, sums, 3 * backward_warps * warp_size * pack);
  const int lane = lane_id(), group = static_cast<int>(blockIdx.y);
  const std::int64_t first_window =
      static_cast<std::int64_t>(blockIdx.x) * windows_per_block + warp_id() * windows_per_warp;
  const int end = (group + 1) * shape.width;
  T window_total = 0;  // of the window that this lane keeps

  for (int chunk = group * shape.width; chunk < end; chunk += warp_size * pack) {
    const int first = chunk + lane * pack;
    const bool active = first < end;
    T radial[pack] = {}, dk[pack] = {}, dbias[pack] = {};
    SN_UNROLL(sizeof(T) == sizeof(float) ? 2 : 1)
    for (int row = 0; row < windows_per_warp; ++row) {
      const std::int64_t window = first_window + row;
      T product_sum = 0;
      if (active && window < shape.windows) {
        const std::int64_t at = window * shape.filters + first;
        const T inverse = arrays.inv_patch_norm[window * shape.groups + group];
        const auto gradients = load<pack>(arrays.dy + at);
        const auto saved = load<pack>(arrays.saved + at);
        Pack<typename Operand::Element, pack> v;
        for (int j = 0; j < pack; ++j) {
          const int o = first + j;
          const T a = saved.values[j], gradient = gradients.values[j];
          const T u = gradient * g.gradient(o, a);
          const T product = u * g.cosine(a);
          v.values[j] = Operand::element(u * inverse * arrays.inv_filter_norm[o]);
          product_sum += product;
          radial[j] += product;
          if (with_dk) dk[j] += gradient * g.curvature_gradient(o, a);
          dbias[j] += gradient;
        }
        store(arrays.v + at, v);
      }
      product_sum = warp_sum(product_sum);
      if (lane == row) window_total += product_sum;
    }

    constexpr int columns = warp_size * pack;
    const int own = warp_id() * columns + lane * pack;
    for (int j = 0; j < pack; ++j) {
      sums[own + j] = radial[j];
      sums[backward_warps * columns + own + j] = dk[j];
      sums[2 * backward_warps * columns + own + j] = dbias[j];
    }
    sync_threads();
    for (int i = static_cast<int>(threadIdx.x); i < 3 * columns; i += backward_warps * warp_size) {
      const int kind = i / columns, column = i % columns;
      if (chunk + column >= end) continue;
      T total = 0;
      for (int other = 0; other < backward_warps; ++other)
        total += sums[(kind * backward_warps + other) * columns + column];
      arrays.partial[(static_cast<std::int64_t>(blockIdx.x) * 3 + kind) * shape.filters + chunk + column] = total;
    }
    sync_threads();
  }

  const std::int64_t window = first_window + lane;
  if (lane >= windows_per_warp || window >= shape.windows) return;
  const T inverse = arrays.inv_patch_norm[window * shape.groups + group];
  arrays.r[window * shape.groups + group] = window_total * inverse * inverse;
}

// Adds the blocks' sums up in float64 and in their order. Reads what the blocks wrote: 1/43 T.
template <typename T>
__global__ void __launch_bounds__(backward_warps* warp_size)
    add_partials_kernel(const T* partial, const std::int64_t blocks, const int filters, T* radial, T* dk, T* dbias) {
  SN_SHARED(double, sums, backward_warps* warp_size);
  const int column = static_cast<int>(blockIdx.x) * warp_size + lane_id();
  const int columns = 3 * filters;
  double sum = 0;
  if (column < columns) {
    for (std::int64_t block = warp_id(); block < blocks; block += backward_warps) {
      sum += static_cast<double>(partial[block * columns + column]);
    }
  }
  sums[threadIdx.x] = sum;
  sync_threads();
  if (warp_id() != 0 || column >= columns) return;
  double total = 0;
  for (int other = 0; other < backward_warps; ++other) total += sums[other * warp_size + lane_id()];
  const int kind = column / filters, filter = column % filters;
  if (kind == 0) radial[filter] = static_cast<T>(total);
  if (kind == 1 && dk != nullptr) dk[filter] = static_cast<T>(total);
  if (kind == 2 && dbias != nullptr) dbias[filter] = static_cast<T>(total);
}

template <typename Operand, typename G, bool with_dk>
void launch_backward(const char* op, cudaStream_t stream, const BackwardArrays<Operand>& arrays,
                     const math::FilterBlock<typename Operand::Value>& parameters, const OutputShape& shape) {
  const dim3 grid(static_cast<unsigned>(ceil_div<std::int64_t>(shape.windows, windows_per_block)),
                  static_cast<unsigned>(shape.groups));
  const Launch how{op, stream, grid, dim3(backward_warps * warp_size)};
  // Two filters a lane: 64 filters fill a warp.
  const auto kernel =
      shape.width % 2 == 0 ? backward_kernel<Operand, G, with_dk, 2> : backward_kernel<Operand, G, with_dk, 1>;
  launch(how, kernel, arrays, math::FilterAngular<G, typename Operand::Value, Operand::rounded>{parameters}, shape);
}

// The constants of each filter's g: [parameters of g, O], empty for a g without.
OptionalTensor filter_parameters(CudaBackend& device, const char* op, const Tensor& w, const OptionalTensor& k,
                                 const SphereOptions& options) {
  OptionalTensor parameters;
  const std::int64_t filters = w.shape[0];
  by_dtype(w.dtype, [&](auto tag) {
    using T = decltype(tag);
    math::by_angular<T>(options.angular, [&](auto type) {
      using G = typename decltype(type)::type;
      if constexpr (G::parameters > 0) {
        parameters = device.scratch(w.dtype, {G::parameters, filters});
        const bool shared = k && k.count() == 1;
        for_each_element(op, device.stream(), filters,
                         FilterParameters<G, T>{k.read<T>(), options.k, shared, static_cast<int>(filters),
                                                parameters.write<T>()});
      }
    });
  });
  return parameters;
}

// What the backward pass leaves for the products that follow.
struct AngularGradient {
  Tensor v;       // like y: the gradient of the products
  Tensor r;       // [windows, groups], see RadialInput
  Tensor radial;  // [O], see RadialFilters
};

template <typename Operand>
AngularGradient angular_gradient(CudaBackend& device, const ConvProblem& problem, const SphereSaved& saved,
                                 const Tensor& dy, const OptionalTensor& parameters, Angular angular,
                                 const OptionalTensor& dk, const OptionalTensor& dbias) {
  using T = typename Operand::Value;
  const OutputShape outputs = output_shape(dy, problem.geometry.groups);
  const std::int64_t blocks = ceil_div<std::int64_t>(outputs.windows, windows_per_block);
  const AngularGradient gradient{device.scratch(Operand::element_dtype, dy.shape),
                                 device.scratch(dy.dtype, {outputs.windows, outputs.groups}),
                                 device.scratch(dy.dtype, {outputs.filters})};
  const Tensor partial = device.scratch(dy.dtype, {blocks, 3, outputs.filters});
  const BackwardArrays<Operand> arrays{dy.read<T>(),
                                       saved.s.read<T>(),
                                       saved.inv_patch_norm.read<T>(),
                                       saved.inv_filter_norm.read<T>(),
                                       gradient.v.write<typename Operand::Element>(),
                                       gradient.r.write<T>(),
                                       partial.write<T>()};
  const auto block = filter_block<T>(parameters, outputs.filters);
  math::by_angular<T>(angular, [&](auto type) {
    using G = typename decltype(type)::type;
    if constexpr (G::parameters > 0) {
      if (dk) return launch_backward<Operand, G, true>(problem.op, device.stream(), arrays, block, outputs);
    }
    launch_backward<Operand, G, false>(problem.op, device.stream(), arrays, block, outputs);
  });
  const unsigned sum_blocks = static_cast<unsigned>(ceil_div(3 * outputs.filters, warp_size));
  launch({problem.op, device.stream(), dim3(sum_blocks), dim3(backward_warps * warp_size)}, add_partials_kernel<T>,
         partial.read<T>(), blocks, outputs.filters, gradient.radial.write<T>(), dk.write<T>(), dbias.write<T>());
  return gradient;
}

}  // namespace

void CudaBackend::sphere_conv2d_forward(const Tensor& x, const Tensor& w, const OptionalTensor& k,
                                        const OptionalTensor& bias, const Tensor& y,
                                        const std::optional<SphereSaved>& saved, const ConvGeometry& geometry,
                                        const SphereOptions& options, const Epilogue& epilogue) {
  const ConvProblem problem = conv_problem("sphereConv2d", x, w, y, geometry, precision_, options.guard);
  SphereOutput sphere{options.angular, filter_parameters(*this, problem.op, w, k, options), {}, {}, {}};
  if (saved) {
    sphere.s = saved->s;
    sphere.inv_patch_norm = saved->inv_patch_norm;
    sphere.inv_filter_norm = saved->inv_filter_norm;
  } else {
    sphere.inv_patch_norm = scratch(y.dtype, {y.count() / y.shape[3], geometry.groups});
    sphere.inv_filter_norm = scratch(y.dtype, {y.shape[3]});
  }
  choose_algorithm(problem, ConvPass::forward)->forward(*this, problem, x, w, {y, bias, sphere});
  batch_norm_forward(y, epilogue.output ? epilogue.output : y, epilogue);
}

void CudaBackend::sphere_conv2d_backward(const Tensor& x, const Tensor& w, const OptionalTensor& k,
                                         const SphereSaved& saved, const Tensor& dy, const OptionalTensor& dx,
                                         const OptionalTensor& dw, const OptionalTensor& dk,
                                         const OptionalTensor& dbias, const ConvGeometry& geometry,
                                         const SphereOptions& options,
                                         const std::optional<EpilogueGradient>& epilogue) {
  const ConvProblem problem = conv_problem("sphereConv2dBackward", x, w, dy, geometry, precision_, options.guard);
  const Tensor gradient = epilogue ? scratch(dy.dtype, dy.shape) : dy;  // of the operator's own output
  if (epilogue) batch_norm_backward(dy, gradient, *epilogue);

  const OptionalTensor parameters = filter_parameters(*this, problem.op, w, k, options);
  const bool shares_k = dk && dk.count() < w.shape[0];
  const OptionalTensor filters_dk = shares_k ? OptionalTensor(scratch(dk.dtype, {w.shape[0]})) : dk;
  AngularGradient angular;
  by_operand(x.dtype, precision_, [&](auto operand) {
    angular = angular_gradient<decltype(operand)>(*this, problem, saved, gradient, parameters, options.angular,
                                                  filters_dk, dbias);
  });
  if (shares_k) sum(filters_dk, dk);

  if (dx) {
    choose_algorithm(problem, ConvPass::backward_data)
        ->backward_data(*this, problem, angular.v, w, dx, RadialInput{x, angular.r});
  }
  if (dw) {
    choose_algorithm(problem, ConvPass::backward_weights)
        ->backward_weights(*this, problem, x, angular.v, dw, RadialFilters{w, saved.inv_filter_norm, angular.radial});
  }
}

}  // namespace sn::cuda

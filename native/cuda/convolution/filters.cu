#include "cuda/convolution/filters.h"

#include "cuda/launch.h"
#include "cuda/primitives.h"
#include "math/norms.h"

namespace sn::cuda {
namespace {

constexpr int threads = 128;

// A block packs one filter. Reads w once, writes it once: 2 passes over the filters.
template <typename Operand>
__global__ void __launch_bounds__(threads)
    pack_kernel(const typename Operand::Value* w, typename Operand::Element* packed,
                typename Operand::Value* inverse_norms, const int size, const int padded,
                const typename Operand::Value eps, const bool add_eps) {
  using T = typename Operand::Value;
  SN_SHARED(T, warp_sums, threads / warp_size);
  const std::int64_t filter = blockIdx.x;
  T squares = 0;
  for (int k = static_cast<int>(threadIdx.x); k < padded; k += threads) {
    const auto element = Operand::element(k < size ? w[filter * size + k] : T(0));
    packed[filter * padded + k] = element;
    const T seen = Operand::value(element);
    squares += seen * seen;
  }
  squares = warp_sum(squares);
  if (lane_id() == 0) warp_sums[warp_id()] = squares;
  sync_threads();
  if (threadIdx.x != 0) return;
  T total = 0;
  for (int i = 0; i < threads / warp_size; ++i) total += warp_sums[i];
  inverse_norms[filter] = math::guarded_inverse_norm(total, eps, add_eps);
}

bool is_fresh(const FilterPack& pack, const Tensor& w, std::uint64_t capture, Precision precision,
              const NormGuard& guard) {
  return pack.elements && pack.revision == w.storage->revision() && pack.capture == capture &&
         pack.precision == precision && pack.guard == guard;
}

}  // namespace

template <typename Operand>
const FilterPack& packed_filters(CudaBackend& device, const Tensor& w, int padded, const NormGuard& guard) {
  using T = typename Operand::Value;
  using Element = typename Operand::Element;
  auto& pack = w.derived<FilterPack>();
  if (is_fresh(pack, w, device.capture_id(), Operand::precision, guard)) return pack;
  const std::int64_t filters = w.shape[0];
  pack.elements = device.allocate(static_cast<std::size_t>(filters * padded) * sizeof(Element));
  pack.inverse_norms = device.scratch(w.dtype, {filters});
  const auto size = static_cast<int>(w.count() / filters);
  launch({"packed_filters", device.stream(), dim3(static_cast<unsigned>(filters)), dim3(threads)}, pack_kernel<Operand>,
         w.read<T>(), static_cast<Element*>(pack.elements->data()), pack.inverse_norms.write<T>(), size, padded,
         static_cast<T>(guard.eps), guard.add);
  pack.revision = w.storage->revision();
  pack.capture = device.capture_id();
  pack.precision = Operand::precision;
  pack.guard = guard;
  return pack;
}

template const FilterPack& packed_filters<ExactOperand<float>>(CudaBackend&, const Tensor&, int, const NormGuard&);
template const FilterPack& packed_filters<ExactOperand<double>>(CudaBackend&, const Tensor&, int, const NormGuard&);
template const FilterPack& packed_filters<Tf32Operand>(CudaBackend&, const Tensor&, int, const NormGuard&);
template const FilterPack& packed_filters<Bf16Operand>(CudaBackend&, const Tensor&, int, const NormGuard&);

}  // namespace sn::cuda

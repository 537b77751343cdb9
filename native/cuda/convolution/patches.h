// The patches of a tile, and their transpose.
#pragma once

#include "cuda/convolution/operands.h"
#include "cuda/convolution/tiles.h"

namespace sn::cuda {

// patches[group][window of the range][padded]; absent patches are only measured. inverse_norms[window][group], from the
// first of all windows on; absent where not wanted.
template <typename Operand>
void build_patches(const char* op, cudaStream_t stream, const typename Operand::Value* x, const PatchShape& shape,
                   const WindowRange& range, typename Operand::Element* patches, typename Operand::Value* inverse_norms,
                   const NormGuard& guard);

// The transpose, without atomics: each pixel of the tile collects from the windows that see it, and takes
// x * (sum of radial over those windows) off where there is one. gradients[group][window][padded].
template <typename T>
void gather_patches(const char* op, cudaStream_t stream, const T* gradients, const PatchShape& shape, const Tile& tile,
                    const T* radial, const T* x, T* dx);

}  // namespace sn::cuda

// Patches that are much shorter than another one of their Winograd tile. The rounding errors of a tile are relative to
// its largest numbers, and SphereConv divides by the length of each patch: for these patches the error would show in
// cos(theta) and in the gradient of the filters. Their products are summed directly, as matrix products of patches that
// are copied out. Ordinary images have few of them, most have none.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/backend.h"

namespace sn::cpu {

class DarkPatches {
 public:
  // Those of so many images, for 3x3 filters of stride 1. x and y give the extents; inverse norms, and the arguments of
  // the functions below, begin at the first of the images.
  DarkPatches(CpuBackend& backend, const NormKernels<float>& norms, const float* inverse_norms, std::int64_t images,
              const Tensor& x, const Tensor& y, const ConvGeometry& geometry);

  // s[patch, filter] = patch . unit filter; the numbers of the other patches stay.
  void forward(const float* x, const Tensor& unit_filters, float* s) const;

  // Takes the gradients v of these patches out of v, where they become 0.
  void take(float* v);
  // Adds to dx what the gradients that were taken give it.
  void add_to_dx(const Tensor& unit_filters, float* dx) const;
  // Adds to dw, an empty tensor as long as there was nothing to add.
  void add_to_dw(const float* x, Tensor& dw) const;

 private:
  // Some of the patches, as many as matrix products need.
  struct Part {
    std::size_t first;
    Tensor patches;   // [patches, 3 * 3 * channels]
    Tensor products;  // [patches, filters]
  };
  template <typename Body>
  void for_each_part(Body&& body) const;
  template <typename Pixel>
  void for_each_pixel(std::int64_t position, Pixel&& pixel) const;
  void copy_patches(const float* x, const Part& part) const;

  CpuBackend& backend_;
  std::int64_t in_h_, in_w_, channels_, out_h_, out_w_, filters_, padding_h_, padding_w_;
  std::vector<std::int64_t> positions_;  // in ascending order
  std::vector<float> gradients_;         // [patches, filters]
};

}  // namespace sn::cpu

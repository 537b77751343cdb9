// How the functions of this folder are compiled: for host and device by nvcc, and for several instruction sets by the
// host compiler.
#pragma once

#if defined(__CUDACC__)
#define SN_HD __host__ __device__ __forceinline__
#define SN_HD_MEMBER __host__ __device__ __forceinline__
#else
// Static, so that copies compiled for different instruction sets never merge at link time.
#define SN_HD static inline __attribute__((always_inline))
#define SN_HD_MEMBER inline __attribute__((always_inline))
#endif

// Member functions cannot be static: a namespace per instruction set keeps their symbols apart.
#if defined(SN_ISA)
#define SN_BEGIN_ISA inline namespace SN_ISA {
#define SN_END_ISA }
#else
#define SN_BEGIN_ISA
#define SN_END_ISA
#endif

// What loops clamp with: variables that nobody writes. GCC 12 makes one vminps or vmaxps of a clamp at a variable, but
// a compare and a blend of one at a constant.
#if defined(__CUDACC__)
#define SN_BOUND constexpr double
#else
#define SN_BOUND inline double
#endif

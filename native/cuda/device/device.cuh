// The first include of every kernel: the CUDA dialect, from the compiler or emulated. Rules that keep a source runnable both ways are in docs/cuda.md.
#pragma once

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define LLSPEC_DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#else
#include "../emulated/emulated_device.h"
#endif

#include "../include/llspec_kernels.h"

#define LLSPEC_KERNEL extern "C" __global__ void

constexpr int WarpSize = 32;
constexpr unsigned FullMask = 0xffffffffu;

__device__ __forceinline__ float negative_infinity() { return __uint_as_float(0xFF800000u); }

// Rows that a launch works on: all, or as many as the device counted.
__device__ __forceinline__ int row_count(const int* count, int rows) { return count == nullptr ? rows : min(*count, rows); }

__device__ __forceinline__ int lane_index() { return threadIdx.x & (WarpSize - 1); }

__device__ __forceinline__ int warp_index() { return threadIdx.x / WarpSize; }

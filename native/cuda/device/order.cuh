// Choosing the largest of many with a fixed rule for ties: a value and its index become one 64-bit key.
#pragma once

#include "device.cuh"

// Orders like the float, with -0 = 0; NaN must not come here.
__device__ __forceinline__ unsigned ordered_bits(float value)
{
    unsigned bits = __float_as_uint(value + 0.0f);
    return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

__device__ __forceinline__ float from_ordered_bits(unsigned bits) { return __uint_as_float((bits & 0x80000000u) != 0 ? bits & 0x7FFFFFFFu : ~bits); }

// Larger values first, ties to the lower index. 0 is below every key of a number.
__device__ __forceinline__ unsigned long long order_key(float value, int index) { return (static_cast<unsigned long long>(ordered_bits(value)) << 32) | (0xFFFFFFFFu - static_cast<unsigned>(index)); }

__device__ __forceinline__ int key_index(unsigned long long key) { return static_cast<int>(0xFFFFFFFFu - static_cast<unsigned>(key)); }

__device__ __forceinline__ float key_value(unsigned long long key) { return from_ordered_bits(static_cast<unsigned>(key >> 32)); }

__device__ __forceinline__ unsigned long long larger(unsigned long long a, unsigned long long b) { return a > b ? a : b; }

// Every thread gets the block's largest key. `shared` holds one key per warp. Begins and ends with a barrier, so it may be called again at once.
__device__ __forceinline__ unsigned long long block_largest(unsigned long long key, unsigned long long* shared)
{
#pragma unroll
    for (int lanes = WarpSize / 2; lanes > 0; lanes /= 2)
    {
        key = larger(key, __shfl_xor_sync(FullMask, key, lanes));
    }

    __syncthreads();
    if (lane_index() == 0)
    {
        shared[warp_index()] = key;
    }

    __syncthreads();
    for (int warp = 0; warp < static_cast<int>(blockDim.x) / WarpSize; warp++)
    {
        key = larger(key, shared[warp]);
    }

    return key;
}

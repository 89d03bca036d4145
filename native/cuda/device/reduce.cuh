// Sums and maxima over a warp or a block, in a fixed order.
#pragma once

#include "device.cuh"

// Every lane gets the sum; the tree is the same for all lanes, so all get the same bits.
__device__ __forceinline__ float warp_sum(float value)
{
#pragma unroll
    for (int lanes = WarpSize / 2; lanes > 0; lanes /= 2)
    {
        value += __shfl_xor_sync(FullMask, value, lanes);
    }

    return value;
}

// Every thread gets the block's sum. `shared` holds one float per warp; a barrier must lie between two uses of it.
__device__ __forceinline__ float block_sum(float value, float* shared)
{
    value = warp_sum(value);
    if (lane_index() == 0)
    {
        shared[warp_index()] = value;
    }

    __syncthreads();
    float total = 0;
    for (int warp = 0; warp < static_cast<int>(blockDim.x) / WarpSize; warp++)
    {
        total += shared[warp];
    }

    return total;
}

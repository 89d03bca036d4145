// Layer self-attention's core: every row of a group attends to all rows of the group (LSA: the L layers of one token). Grid (groups * group_rows, H), block 32,
// 4 * group_rows bytes of shared memory.
//
// A lane takes a key, so scores need no exchange; with L = 32 layers a warp has exactly one key per lane. The group's keys and values come from cache: L rows are
// read by L * H/K warps.
#include "../device/reduce.cuh"

namespace group_attention
{
__device__ __forceinline__ float warp_max(float value)
{
#pragma unroll
    for (int lanes = WarpSize / 2; lanes > 0; lanes /= 2)
    {
        value = fmaxf(value, __shfl_xor_sync(FullMask, value, lanes));
    }

    return value;
}
}

LLSPEC_KERNEL __launch_bounds__(32) llspec_group_attention(LlspecGroupAttention p)
{
    LLSPEC_DYNAMIC_SHARED(shared);
    auto* weights = reinterpret_cast<float*>(shared);
    int group = blockIdx.x / p.group_rows, head = blockIdx.y, lane = threadIdx.x;
    if (group >= row_count(p.count, p.groups))
    {
        return;
    }

    int kv_head = head / (p.heads / p.kv_heads);
    long long first = static_cast<long long>(group) * p.group_rows;
    const float* query = p.queries + static_cast<long long>(blockIdx.x) * p.query_stride + head * p.head_size;
    const float* keys = p.k + first * p.k_stride + kv_head * p.head_size;
    const float* values = p.v + first * p.v_stride + kv_head * p.head_size;
    float largest = negative_infinity();
    for (int j = lane; j < p.group_rows; j += WarpSize)
    {
        const float* key = keys + static_cast<long long>(j) * p.k_stride;
        float score = 0;
        for (int d = 0; d < p.head_size; d++)
        {
            score = fmaf(query[d], key[d], score);
        }

        weights[j] = score * p.scale;
        largest = fmaxf(largest, weights[j]);
    }

    largest = group_attention::warp_max(largest);
    float sum = 0;
    for (int j = lane; j < p.group_rows; j += WarpSize)
    {
        weights[j] = expf(weights[j] - largest);
        sum += weights[j];
    }

    sum = warp_sum(sum);
    __syncwarp();
    float* output = p.output + static_cast<long long>(blockIdx.x) * p.output_stride + head * p.head_size;
    for (int d = lane; d < p.head_size; d += WarpSize)
    {
        float mixed = 0;
        for (int j = 0; j < p.group_rows; j++)
        {
            mixed = fmaf(weights[j], values[static_cast<long long>(j) * p.v_stride + d], mixed);
        }

        output[d] = mixed / sum;
    }
}

// Rotary embedding of queries and keys, and the append of keys and values to the cache, in one pass over them. One block of 256 threads per row.
//
// Memory-bound: each value is read once and written once (queries, keys), keys and values once more as bf16.
#include "../device/bf16.cuh"

namespace rope_append
{
// Rotates the pair (i, i + D/2) of one head.
__device__ __forceinline__ void rotate(float* head, int i, int half, float cosine, float sine)
{
    float a = head[i], b = head[i + half];
    head[i] = fmaf(-b, sine, a * cosine);
    head[i + half] = fmaf(a, sine, b * cosine);
}

__device__ __forceinline__ void rotate_heads(float* values, int heads, int head_size, const float* cosines, const float* sines)
{
    int half = head_size / 2;
    for (int pair = threadIdx.x; pair < heads * half; pair += blockDim.x)
    {
        int i = pair % half;
        rotate(values + (pair / half) * head_size, i, half, cosines[i], sines[i]);
    }
}

__device__ __forceinline__ void store(const float* values, unsigned short* cache, const LlspecRopeAppend& p, const LlspecRow& row)
{
    int row_size = (p.head_size + 7) / 8 * 8;
    for (int i = threadIdx.x; i < p.kv_heads * p.head_size; i += blockDim.x)
    {
        long long head = static_cast<long long>(p.layer) * p.kv_heads + i / p.head_size;
        cache[(head * row.capacity + row.cache_row) * row_size + i % p.head_size] = bf16_bits(values[i]);
    }
}
}

LLSPEC_KERNEL __launch_bounds__(256) llspec_rope_append(LlspecRopeAppend p)
{
    int index = blockIdx.x;
    if (index >= row_count(p.count, p.rows))
    {
        return;
    }

    float* k = p.k == nullptr ? nullptr : p.k + static_cast<long long>(index) * p.k_stride;
    if (p.cos != nullptr)
    {
        int position = p.positions != nullptr ? p.positions[index] : p.rows_of[index].position;
        long long at = static_cast<long long>(max(0, min(position, p.table_rows - 1))) * (p.head_size / 2);
        if (p.q != nullptr)
        {
            rope_append::rotate_heads(p.q + static_cast<long long>(index) * p.q_stride, p.heads, p.head_size, p.cos + at, p.sin + at);
        }

        if (k != nullptr)
        {
            rope_append::rotate_heads(k, p.kv_heads, p.head_size, p.cos + at, p.sin + at);
        }
    }

    // Rotated keys are read by other threads than wrote them.
    __syncthreads();
    if (p.store == 0)
    {
        return;
    }

    const LlspecRow row = p.rows_of[index];
    if (row.cache_row >= 0 && row.cache_row < row.capacity)
    {
        rope_append::store(k, row.keys, p, row);
        rope_append::store(p.v + static_cast<long long>(index) * p.v_stride, row.values, p, row);
    }
}

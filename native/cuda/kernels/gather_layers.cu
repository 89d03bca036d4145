// LSA's input from the target's cache: per token and layer, for every kv head [K_head ; V_head], widened to f32. Grid (tokens, L), block 256.
#include "../device/bf16.cuh"

LLSPEC_KERNEL __launch_bounds__(256) llspec_gather_layers(LlspecGatherLayers p)
{
    int token = blockIdx.x, layer = blockIdx.y;
    if (token >= row_count(p.count, p.tokens))
    {
        return;
    }

    long long cache_row = (p.first == nullptr ? 0 : *p.first) + p.first_row + token;
    int row_size = (p.head_size + 7) / 8 * 8;
    float* output = p.output + (static_cast<long long>(token) * p.layers + layer) * p.output_stride;
    for (int i = threadIdx.x; i < p.kv_heads * 2 * p.head_size; i += blockDim.x)
    {
        int head = i / (2 * p.head_size), d = i % (2 * p.head_size);
        const unsigned short* cache = d < p.head_size ? p.keys : p.values;
        long long at = ((static_cast<long long>(layer) * p.kv_heads + head) * p.capacity + cache_row) * row_size;
        output[i] = bf16_value(cache[at + d % p.head_size]);
    }
}

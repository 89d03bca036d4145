// Rows of the embedding table, widened to f32. One block of 256 threads per row.
#include "../device/bf16.cuh"

LLSPEC_KERNEL __launch_bounds__(256) llspec_embed(LlspecEmbed p)
{
    int row = blockIdx.x;
    if (row >= row_count(p.count, p.rows))
    {
        return;
    }

    int token = p.rows_of != nullptr ? p.rows_of[row].token : p.tokens[row];
    bool known = token >= 0 && token < p.vocabulary;
    long long first = static_cast<long long>(known ? token : 0) * p.columns;
    float* output = p.output + static_cast<long long>(row) * p.stride;
    for (int i = threadIdx.x; i < p.columns; i += blockDim.x)
    {
        float value = p.table_type == LLSPEC_F32 ? static_cast<const float*>(p.table)[first + i] : bf16_value(static_cast<const unsigned short*>(p.table)[first + i]);
        output[i] = known ? value : 0.0f;
    }
}

// Rows of f32 as two bf16 each, high and rest: what a library's product of bf16 matrices takes. Grid (rows, ceil(columns / 256)), block 256.
#include "../device/bf16.cuh"

LLSPEC_KERNEL __launch_bounds__(256) llspec_split_rows(LlspecSplitRows p)
{
    long long row = blockIdx.x;
    int i = blockIdx.y * blockDim.x + threadIdx.x;
    if (i < p.columns)
    {
        float value = p.input[row * p.input_stride + i];
        unsigned short high = bf16_bits(value);
        p.high[row * p.output_stride + i] = high;
        p.low[row * p.output_stride + i] = bf16_bits(value - bf16_value(high));
    }
}

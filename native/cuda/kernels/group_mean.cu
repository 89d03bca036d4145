// Mean of consecutive rows, summed in order (LSA: over the layers of one token). Grid (groups, ceil(C / 256)), block 256.
#include "../device/device.cuh"

LLSPEC_KERNEL __launch_bounds__(256) llspec_group_mean(LlspecGroupMean p)
{
    long long group = blockIdx.x;
    int i = blockIdx.y * blockDim.x + threadIdx.x;
    if (group >= row_count(p.count, p.groups) || i >= p.columns)
    {
        return;
    }

    float sum = 0;
    for (int row = 0; row < p.group_rows; row++)
    {
        sum += p.input[(group * p.group_rows + row) * p.input_stride + i];
    }

    p.output[group * p.output_stride + i] = sum / static_cast<float>(p.group_rows);
}

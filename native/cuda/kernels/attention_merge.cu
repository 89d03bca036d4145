// Tree attention, second step: a row's splits, weighted by their maxima, summed in order. Grid (rows, H), block 32.
#include "../device/device.cuh"

LLSPEC_KERNEL __launch_bounds__(32) llspec_attention_merge(LlspecAttentionMerge p)
{
    int row = blockIdx.x, head = blockIdx.y;
    if (row >= row_count(p.count, p.rows))
    {
        return;
    }

    int keys = p.rows_of[row].prefix + p.rows_of[row].ancestor_count, splits = (keys + LLSPEC_SPLIT_KEYS - 1) / LLSPEC_SPLIT_KEYS;
    long long size = p.head_size + 2, step = static_cast<long long>(p.rows) * p.heads * size;
    const float* first = p.scratch + (static_cast<long long>(row) * p.heads + head) * size;
    float largest = negative_infinity();
    for (int split = 0; split < splits; split++)
    {
        largest = fmaxf(largest, first[split * step + p.head_size]);
    }

    float* output = p.output + static_cast<long long>(row) * p.output_stride + head * p.head_size;
    for (int d = threadIdx.x; d < p.head_size; d += blockDim.x)
    {
        float mixed = 0, sum = 0;
        for (int split = 0; split < splits; split++)
        {
            const float* part = first + split * step;
            float weight = exp2f(part[p.head_size] - largest);
            mixed = fmaf(weight, part[d], mixed);
            sum = fmaf(weight, part[p.head_size + 1], sum);
        }

        output[d] = splits == 0 ? 0.0f : mixed / sum;
    }
}

// Rows by index. Grid ceil(columns / 256), block 256: a thread owns a column and takes the rows in order, so a compaction inside one matrix reads each row before it
// is overwritten.
#include "../device/device.cuh"

LLSPEC_KERNEL __launch_bounds__(256) llspec_copy_rows(LlspecCopyRows p)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= p.columns)
    {
        return;
    }

    int rows = row_count(p.count, p.rows);
    for (int row = 0; row < rows; row++)
    {
        int source = p.sources == nullptr ? row : p.sources[row];
        p.output[static_cast<long long>(row) * p.output_stride + i] = p.input[static_cast<long long>(source) * p.input_stride + i];
    }
}

// Compacts an accepted path in a KV cache. Grid (L * K, 2: keys, values), block 128. A thread owns an element of the head's rows and takes the rows in order, so each
// is read before it is overwritten and no barrier is needed. Moves at most 63 rows of 2 * K * D * 2 bytes per layer.
#include "../device/device.cuh"

LLSPEC_KERNEL __launch_bounds__(128) llspec_keep_rows(LlspecKeepRows p)
{
    int row_size = (p.head_size + 7) / 8 * 8, rows = row_count(p.count, p.rows);
    long long base = (p.base == nullptr ? 0 : *p.base) + p.base_row;
    unsigned short* cache = (blockIdx.y == 0 ? p.keys : p.values) + static_cast<long long>(blockIdx.x) * p.capacity * row_size;
    for (int d = threadIdx.x; d < p.head_size; d += blockDim.x)
    {
        for (int i = 0; i < rows; i++)
        {
            long long source = p.sources[i];
            if (source != base + i)
            {
                cache[(base + i) * row_size + d] = cache[source * row_size + d];
            }
        }
    }
}

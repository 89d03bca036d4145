using ILGPU;

namespace LowLevelSpec.Engine.Backends.Ilgpu;

/// <summary>Writing, gathering and compacting caches. cache [layers, K, capacity, D].</summary>
internal static class CacheKernels
{
    /// <summary>Writes rows [first, first + count) of k and v to their cache rows (-1 = none); one thread per element.</summary>
    public static void Store(Index1D index, DeviceMatrix k, DeviceMatrix v, int first, ArrayView<int> cacheRows, ArrayView<float> keys, ArrayView<float> values, long layerOffset, long headStride, int headSize)
    {
        int row = first + (index / k.Columns), column = index % k.Columns, cacheRow = cacheRows[row];
        if (cacheRow >= 0)
        {
            long to = layerOffset + (column / headSize * headStride) + ((long)cacheRow * headSize) + (column % headSize);
            keys[to] = k.Data[k.At(row, column)];
            values[to] = v.Data[v.At(row, column)];
        }
    }

    /// <summary>output[(t*L)+l] = for every kv head [K_head ; V_head] of layer l at row firstRow+t; one thread per element.</summary>
    public static void GatherLayers(Index1D index, ArrayView<float> keys, ArrayView<float> values, int firstRow, int layers, long headStride, int headSize, DeviceMatrix output)
    {
        int row = index / output.Columns, column = index % output.Columns, kvHeads = output.Columns / (2 * headSize);
        int token = row / layers, layer = row % layers, head = column / (2 * headSize), i = column % (2 * headSize);
        long from = ((((long)layer * kvHeads) + head) * headStride) + ((long)(firstRow + token) * headSize);
        output.Data[output.At(row, column)] = i < headSize ? keys[from + i] : values[from + i - headSize];
    }

    /// <summary>Row rows[i] moves to baseRow+i in ascending order; one thread per layer, head and element, so that each reads a row before it overwrites it.</summary>
    public static void KeepRows(Index1D index, ArrayView<float> keys, ArrayView<float> values, int baseRow, int count, ArrayView<int> rows, long headStride, int headSize)
    {
        long at = (index / headSize * headStride) + (index % headSize);
        for (int i = 0; i < count; i++)
        {
            long from = at + ((long)rows[i] * headSize), to = at + ((long)(baseRow + i) * headSize);
            keys[to] = keys[from];
            values[to] = values[from];
        }
    }
}

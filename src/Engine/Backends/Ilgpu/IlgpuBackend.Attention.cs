using ILGPU;
using ILGPU.Runtime;

namespace LowLevelSpec.Engine.Backends.Ilgpu;

/// <content>Caches and attention.</content>
public sealed partial class IlgpuBackend
{
    // Numbers per row of an attention call's plan: see AttentionKernel.Run.
    private const int PlanWidth = 4;

    /// <inheritdoc/>
    public void StoreKv(PassBatch batch, int layer, Matrix k, Matrix v)
    {
        ArgumentNullException.ThrowIfNull(batch);
        OperationChecks.Holds(k.Rows == batch.Count && v.Rows == batch.Count && k.Columns == v.Columns, "StoreKv's keys and values do not match the batch");
        DeviceMatrix keys = Device(k), values = Device(v);
        lock (_gate)
        {
            if (!Begins(k))
            {
                return;
            }

            ArrayView<int> cacheRows = _rows.Upload(batch.CacheRows);
            for (int first = 0, count; first < batch.Count; first += count)
            {
                IlgpuKvCache cache = Device(batch.Cache(first));
                count = RunOfOneCache(batch, first);
                OperationChecks.Holds(k.Columns == cache.KvHeads * cache.HeadSize && (uint)layer < (uint)cache.Layers, "StoreKv's keys do not fit the cache");
                _kernels.StoreKv(count * k.Columns, keys, values, first, cacheRows, cache.Keys, cache.Values, cache.LayerOffset(layer), cache.HeadStride, cache.HeadSize);
            }
        }
    }

    /// <inheritdoc/>
    public void Attention(PassBatch batch, int layer, Matrix queries, Matrix output, int heads, float scale)
    {
        ArgumentNullException.ThrowIfNull(batch);
        OperationChecks.Holds(queries.Rows == batch.Count, "Attention's queries do not match the batch");
        OperationChecks.Shape(output, queries.Rows, queries.Columns, "Attention's output");
        DeviceMatrix from = Device(queries), to = Device(output);
        lock (_gate)
        {
            if (!Begins(queries))
            {
                return;
            }

            (ArrayView<int> plan, ArrayView<int> lists) = Plan(batch);
            for (int first = 0, count; first < batch.Count; first += count)
            {
                IlgpuKvCache cache = Device(batch.Cache(first));
                count = RunOfOneCache(batch, first);
                OperationChecks.Holds(heads > 0 && heads % cache.KvHeads == 0 && queries.Columns == heads * cache.HeadSize, "Attention's heads do not fit the cache");
                OperationChecks.Holds((uint)layer < (uint)cache.Layers, "Attention's cache lacks the layer");
                long offset = cache.LayerOffset(layer);
                DeviceKeys keys = new(cache.Keys, cache.Values, offset, offset, cache.HeadSize, cache.HeadSize, cache.HeadStride, cache.HeadSize, heads / cache.KvHeads, scale);
                _kernels.Attention(Groups(checked(count * heads)), from, to, keys, plan, lists, first, heads);
            }
        }
    }

    /// <inheritdoc/>
    public void GroupAttention(Matrix queries, Matrix k, Matrix v, Matrix output, int groupRows, int heads, int kvHeads, float scale)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(groupRows);
        OperationChecks.Holds(heads > 0 && kvHeads > 0 && heads % kvHeads == 0 && queries.Columns % heads == 0, "GroupAttention's heads do not divide its queries");
        OperationChecks.Holds(queries.Rows % groupRows == 0, "GroupAttention's rows are no whole groups");
        int headSize = queries.Columns / heads;
        OperationChecks.Holds(headSize <= AttentionKernel.MostHeadSize, $"GroupAttention's heads are larger than {AttentionKernel.MostHeadSize}");
        OperationChecks.Shape(k, queries.Rows, kvHeads * headSize, "GroupAttention's k");
        OperationChecks.Shape(v, queries.Rows, kvHeads * headSize, "GroupAttention's v");
        OperationChecks.Shape(output, queries.Rows, queries.Columns, "GroupAttention's output");
        DeviceMatrix from = Device(queries), to = Device(output), keys = Device(k), values = Device(v);
        lock (_gate)
        {
            if (!Begins(queries))
            {
                return;
            }

            int[] plan = Grown(ref _hostPlan, queries.Rows * PlanWidth);
            for (int row = 0; row < queries.Rows; row++)
            {
                SetPlan(plan, row, row / groupRows * groupRows, groupRows, 0, 0);
            }

            DeviceKeys kv = new(keys.Data, values.Data, k.Offset, v.Offset, k.Stride, v.Stride, headSize, headSize, heads / kvHeads, scale);
            _kernels.Attention(Groups(checked(queries.Rows * heads)), from, to, kv, _plan.Upload(plan.AsSpan(0, queries.Rows * PlanWidth)), _lists.Upload([]), 0, heads);
        }
    }

    /// <inheritdoc/>
    public void GatherLayers(KvCache cache, CacheRow firstRow, int count, Matrix output)
    {
        IlgpuKvCache from = Device(cache);
        OperationChecks.Holds(count >= 0 && firstRow.Value >= 0 && firstRow.Value + (long)count <= from.Capacity, "GatherLayers is asked for rows outside the cache");
        OperationChecks.Shape(output, checked(count * from.Layers), 2 * from.KvHeads * from.HeadSize, "GatherLayers' output");
        DeviceMatrix to = Device(output);
        lock (_gate)
        {
            if (Begins(output))
            {
                _kernels.GatherLayers(Elements(output), from.Keys, from.Values, firstRow.Value, from.Layers, from.HeadStride, from.HeadSize, to);
            }
        }
    }

    /// <inheritdoc/>
    public void KeepRows(KvCache cache, CacheRow baseRow, ReadOnlySpan<int> rows)
    {
        IlgpuKvCache kv = Device(cache);
        int at = baseRow.Value;
        OperationChecks.Holds(at >= 0 && at + (long)rows.Length <= kv.Capacity, "KeepRows reaches beyond the cache");
        bool moves = false;
        for (int i = 0; i < rows.Length; i++)
        {
            OperationChecks.Holds(rows[i] >= at + i && rows[i] < kv.Capacity && (i == 0 || rows[i] > rows[i - 1]), "KeepRows' rows are not ascending from the base row");
            moves |= rows[i] != at + i;
        }

        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (moves)
            {
                _kernels.KeepRows(kv.Layers * kv.KvHeads * kv.HeadSize, kv.Keys, kv.Values, at, rows.Length, _rows.Upload(rows), kv.HeadStride, kv.HeadSize);
            }
        }

        kv.Length = at + rows.Length;
    }

    /// <summary>How many rows from <paramref name="first"/> on belong to the same cache.</summary>
    private static int RunOfOneCache(PassBatch batch, int first)
    {
        int end = first + 1;
        while (end < batch.Count && ReferenceEquals(batch.Cache(end), batch.Cache(first)))
        {
            end++;
        }

        return end - first;
    }

    private static void SetPlan(int[] plan, int row, int begin, int run, int listStart, int listLength) =>
        (plan[row * PlanWidth], plan[(row * PlanWidth) + 1], plan[(row * PlanWidth) + 2], plan[(row * PlanWidth) + 3]) = (begin, run, listStart, listLength);

    /// <summary>What each row of a batch sees, on the device.</summary>
    private (ArrayView<int> Plan, ArrayView<int> Lists) Plan(PassBatch batch)
    {
        int total = 0;
        for (int i = 0; i < batch.Count; i++)
        {
            total += batch.Ancestors(i).Length;
        }

        int[] plan = Grown(ref _hostPlan, batch.Count * PlanWidth), lists = Grown(ref _hostLists, total);
        ReadOnlySpan<int> prefix = batch.Prefix;
        int start = 0;
        for (int i = 0; i < batch.Count; i++)
        {
            int capacity = batch.Cache(i).Capacity;
            ReadOnlySpan<int> ancestors = batch.Ancestors(i);
            OperationChecks.Holds(prefix[i] >= 0 && prefix[i] <= capacity, "a prefix lies outside the cache");
            foreach (int row in ancestors)
            {
                OperationChecks.Holds((uint)row < (uint)capacity, "an ancestor row lies outside the cache");
            }

            ancestors.CopyTo(lists.AsSpan(start));
            SetPlan(plan, i, 0, prefix[i], start, ancestors.Length);
            start += ancestors.Length;
        }

        return (_plan.Upload(plan.AsSpan(0, batch.Count * PlanWidth)), _lists.Upload(lists.AsSpan(0, total)));
    }
}

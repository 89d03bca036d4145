using LowLevelSpec.Interop.Cuda;
using LowLevelSpec.Interop.Cuda.Kernels;

namespace LowLevelSpec.Engine.Backends.Cuda;

/// <content>Caches and attention.</content>
internal sealed partial class CudaBackend
{
    private const int MaxHeadSize = 128;

    /// <inheritdoc/>
    public void StoreKv(PassBatch batch, int layer, Matrix k, Matrix v)
    {
        OperationChecks.Holds(k.Rows == batch.Count && v.Rows == batch.Count && k.Columns == v.Columns, "StoreKv's keys and values do not match the batch");
        lock (_gate)
        {
            ulong keys = Begin(k), values = Address(v);
            if (batch.Count > 0)
            {
                CudaKvCache cache = CommonShape(batch, layer, "StoreKv");
                OperationChecks.Holds(k.Columns == cache.KvHeads * cache.HeadSize, "StoreKv's keys do not fit the cache");
                DeviceRows rows = _rows.Of(batch);
                _kernels.Launch(Kernel.RopeAppend, new Grid(batch.Count), new RopeAppendArgument
                {
                    RowsOf = rows.Rows,
                    K = keys,
                    V = values,
                    Count = rows.Count,
                    Rows = batch.Count,
                    KvHeads = cache.KvHeads,
                    HeadSize = cache.HeadSize,
                    KStride = k.Stride,
                    VStride = v.Stride,
                    Layer = layer,
                    Store = 1,
                });
            }
        }
    }

    /// <inheritdoc/>
    public void RopeAndStore(PassBatch batch, int layer, RopeTable table, Matrix q, int heads, Matrix k, Matrix v)
    {
        int n = batch.Count;
        OperationChecks.Holds(q.Rows == n && k.Rows == n && v.Rows == n && k.Columns == v.Columns, "RopeAndStore's rows do not match the batch");
        OperationChecks.Holds(q.Columns == heads * table.HeadSize, "RopeAndStore's heads do not fit its queries");
        lock (_gate)
        {
            ulong queries = Begin(q), keys = Address(k), values = Address(v);
            if (n == 0)
            {
                return;
            }

            CudaKvCache cache = CommonShape(batch, layer, "RopeAndStore");
            OperationChecks.Holds(k.Columns == cache.KvHeads * cache.HeadSize && cache.HeadSize == table.HeadSize, "RopeAndStore's keys do not fit the cache");
            DeviceTable device = Table(table, PositionsOf(batch));
            DeviceRows rows = _rows.Of(batch);
            _kernels.Launch(Kernel.RopeAppend, new Grid(n), new RopeAppendArgument
            {
                RowsOf = rows.Rows,
                Q = queries,
                K = keys,
                V = values,
                Cos = device.Cos,
                Sin = device.Sin,
                Count = rows.Count,
                Rows = n,
                Heads = heads,
                KvHeads = cache.KvHeads,
                HeadSize = cache.HeadSize,
                QStride = q.Stride,
                KStride = k.Stride,
                VStride = v.Stride,
                Layer = layer,
                Store = 1,
                TableRows = device.Positions,
            });
        }
    }

    /// <inheritdoc/>
    public void Attention(PassBatch batch, int layer, Matrix queries, Matrix output, int heads, float scale)
    {
        OperationChecks.Holds(queries.Rows == batch.Count, "Attention's queries do not match the batch");
        OperationChecks.Shape(output, queries.Rows, queries.Columns, "Attention's output");
        lock (_gate)
        {
            ulong from = Begin(queries), to = Address(output);
            if (batch.Count == 0)
            {
                return;
            }

            CudaKvCache cache = CommonShape(batch, layer, "Attention");
            OperationChecks.Holds(heads > 0 && heads % cache.KvHeads == 0 && queries.Columns == heads * cache.HeadSize, "Attention's heads do not fit the cache");
            OperationChecks.Holds(heads / cache.KvHeads <= KernelLimits.BlockRows, $"more than {KernelLimits.BlockRows} heads share a key head");
            DeviceRows rows = _rows.Of(batch);
            int n = batch.Count, d = cache.HeadSize, splits = Math.Max(1, Ceiling(rows.MostKeys, KernelLimits.SplitKeys));
            int blocks = Ceiling(n, KernelLimits.BlockRows / (heads / cache.KvHeads));
            int sharedLanes = Math.Clamp(Ceiling(WantedBlocks, blocks * cache.KvHeads), 1, splits), privateLanes = Math.Min(2, splits);
            ulong scratch = _scratch.Get(ScratchKind.Attention, sizeof(float) * AttentionArgument.ScratchLength(n, heads, d, splits));
            _kernels.Launch(
                d <= 32 ? Kernel.Attention32 : d <= 64 ? Kernel.Attention64 : Kernel.Attention128,
                new Grid((blocks * sharedLanes) + (n * privateLanes), cache.KvHeads),
                new AttentionArgument
                {
                    RowsOf = rows.Rows,
                    Ancestors = rows.Ancestors,
                    Queries = from,
                    Scratch = scratch,
                    Count = rows.Count,
                    Rows = n,
                    Heads = heads,
                    KvHeads = cache.KvHeads,
                    HeadSize = d,
                    QueryStride = queries.Stride,
                    Layer = layer,
                    Splits = splits,
                    SharedLanes = sharedLanes,
                    PrivateLanes = privateLanes,
                    Scale = scale,
                });
            _kernels.Launch(Kernel.AttentionMerge, new Grid(n, heads), new AttentionMergeArgument
            {
                RowsOf = rows.Rows,
                Scratch = scratch,
                Output = to,
                Count = rows.Count,
                Rows = n,
                Heads = heads,
                HeadSize = d,
                OutputStride = output.Stride,
                Splits = splits,
            });
        }
    }

    /// <inheritdoc/>
    public void GroupAttention(Matrix queries, Matrix k, Matrix v, Matrix output, int groupRows, int heads, int kvHeads, float scale)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(groupRows);
        OperationChecks.Holds(heads > 0 && kvHeads > 0 && heads % kvHeads == 0 && queries.Columns % heads == 0, "GroupAttention's heads do not divide its queries");
        OperationChecks.Holds(queries.Rows % groupRows == 0, "GroupAttention's rows are no whole groups");
        int headSize = queries.Columns / heads;
        OperationChecks.Shape(k, queries.Rows, kvHeads * headSize, "GroupAttention's k");
        OperationChecks.Shape(v, queries.Rows, kvHeads * headSize, "GroupAttention's v");
        OperationChecks.Shape(output, queries.Rows, queries.Columns, "GroupAttention's output");
        lock (_gate)
        {
            ulong from = Begin(queries), keys = Address(k), values = Address(v), to = Address(output);
            if (queries.Rows > 0)
            {
                _kernels.Launch(Kernel.GroupAttention, new Grid(queries.Rows, heads), new GroupAttentionArgument
                {
                    Queries = from,
                    K = keys,
                    V = values,
                    Output = to,
                    Groups = queries.Rows / groupRows,
                    GroupRows = groupRows,
                    Heads = heads,
                    KvHeads = kvHeads,
                    HeadSize = headSize,
                    QueryStride = queries.Stride,
                    KStride = k.Stride,
                    VStride = v.Stride,
                    OutputStride = output.Stride,
                    Scale = scale,
                }, groupRows * sizeof(float));
            }
        }
    }

    /// <inheritdoc/>
    public void GatherLayers(KvCache cache, CacheRow firstRow, int count, Matrix output)
    {
        CudaKvCache from = Cuda(cache);
        OperationChecks.Holds(count >= 0 && firstRow.Value >= 0 && firstRow.Value + (long)count <= from.Capacity, "GatherLayers is asked for rows outside the cache");
        OperationChecks.Shape(output, checked(count * from.Layers), 2 * from.KvHeads * from.HeadSize, "GatherLayers' output");
        lock (_gate)
        {
            ulong to = Begin(output);
            if (count > 0)
            {
                GatherLayers(from, 0, firstRow.Value, 0, count, output, to);
            }
        }
    }

    /// <inheritdoc/>
    public void KeepRows(KvCache cache, CacheRow baseRow, ReadOnlySpan<int> rows)
    {
        CudaKvCache kv = Cuda(cache);
        int at = baseRow.Value, moved = 0;
        OperationChecks.Holds(at >= 0 && at + (long)rows.Length <= kv.Capacity, "KeepRows reaches beyond the cache");
        for (int i = 0; i < rows.Length; i++)
        {
            OperationChecks.Holds(
                rows[i] >= at + i && rows[i] < kv.Capacity && (i == 0 || rows[i] > rows[i - 1]), "KeepRows' rows are not ascending from the base row");
            moved += rows[i] == at + i ? 0 : 1;
        }

        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            _ = kv.Keys;
            if (moved > 0)
            {
                KeepRows(kv, _ring.Upload(rows), 0, 0, at, rows.Length);
            }

            kv.Length = at + rows.Length;
        }
    }

    private void GatherLayers(CudaKvCache from, ulong first, int firstRow, ulong count, int tokens, Matrix output, ulong to) =>
        _kernels.Launch(Kernel.GatherLayers, new Grid(tokens, from.Layers), new GatherLayersArgument
        {
            Keys = from.Keys,
            Values = from.Values,
            Output = to,
            Count = count,
            First = first,
            Tokens = tokens,
            Layers = from.Layers,
            KvHeads = from.KvHeads,
            HeadSize = from.HeadSize,
            Capacity = from.Capacity,
            FirstRow = firstRow,
            OutputStride = output.Stride,
        });

    private void KeepRows(CudaKvCache kv, ulong sources, ulong count, ulong baseAddress, int baseRow, int rows) =>
        _kernels.Launch(Kernel.KeepRows, new Grid(kv.Layers * kv.KvHeads, 2), new KeepRowsArgument
        {
            Keys = kv.Keys,
            Values = kv.Values,
            Sources = sources,
            Count = count,
            Base = baseAddress,
            Rows = rows,
            Layers = kv.Layers,
            KvHeads = kv.KvHeads,
            HeadSize = kv.HeadSize,
            Capacity = kv.Capacity,
            BaseRow = baseRow,
        });

    /// <summary>A cache of the batch; all have its shape.</summary>
    private static CudaKvCache CommonShape(PassBatch batch, int layer, string what)
    {
        CudaKvCache first = Cuda(batch.Cache(0));
        for (int i = 0; i < (batch.Planned is null ? batch.Count : 1); i++)
        {
            KvCache cache = batch.Cache(i);
            OperationChecks.Holds(
                cache.KvHeads == first.KvHeads && cache.HeadSize == first.HeadSize && (uint)layer < (uint)cache.Layers, $"{what}'s caches differ in shape or lack the layer");
        }

        return first;
    }
}

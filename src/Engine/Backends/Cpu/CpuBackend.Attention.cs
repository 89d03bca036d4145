using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <content>Caches and attention.</content>
public sealed unsafe partial class CpuBackend
{
    // Queries (rows x heads of a group) that share the loads of keys and values.
    private const int QueriesPerBlock = 12;

    // Keys are split over threads only while the sums of their blocks stay below this.
    private const long MostPartialBytes = 64L << 20;

    /// <inheritdoc/>
    public void StoreKv(PassBatch batch, int layer, Matrix k, Matrix v)
    {
        Check(k.Rows == batch.Count && v.Rows == batch.Count && k.Columns == v.Columns, "StoreKv's keys and values do not match the batch");
        float* keys = Data(k), values = Data(v);
        ReadOnlySpan<int> cacheRows = batch.CacheRows;
        for (int i = 0; i < cacheRows.Length; i++)
        {
            if (cacheRows[i] < 0)
            {
                continue;
            }

            CpuKvCache cache = Cpu(batch.Cache(i));
            Check(k.Columns == cache.KvHeads * cache.HeadSize && (uint)layer < (uint)cache.Layers, "StoreKv's keys do not fit the cache");
            byte* toKeys = cache.Keys(layer), toValues = cache.Values(layer);
            for (int head = 0; head < cache.KvHeads; head++)
            {
                long at = ((head * cache.HeadStride) + ((long)cacheRows[i] * cache.RowSize)) * cache.ElementBytes;
                cache.Store(keys + ((long)i * k.Stride) + (head * cache.HeadSize), toKeys + at);
                cache.Store(values + ((long)i * v.Stride) + (head * cache.HeadSize), toValues + at);
            }

            GC.KeepAlive(cache);
        }

        GC.KeepAlive(k.Buffer);
        GC.KeepAlive(v.Buffer);
    }

    /// <inheritdoc/>
    public void Attention(PassBatch batch, int layer, Matrix queries, Matrix output, int heads, float scale)
    {
        Check(queries.Rows == batch.Count, "Attention's queries do not match the batch");
        Expect(output, queries.Rows, queries.Columns, "Attention's output");
        if (batch.Count == 0)
        {
            return;
        }

        CpuKvCache first = Cpu(batch.Cache(0));
        Check(heads > 0 && heads % first.KvHeads == 0 && queries.Columns == heads * first.HeadSize, "Attention's heads do not fit the cache");
        AttentionJob job = new()
        {
            KvHeads = first.KvHeads,
            Group = heads / first.KvHeads,
            HeadSize = first.HeadSize,
            Scale = scale,
            Scores = _native == null ? null : _native.Scores,
            Values = _native == null ? null : _native.Values,
            Queries = Data(queries),
            QueryStride = queries.Stride,
            Output = Data(output),
            OutputStride = output.Stride,
        };
        lock (_team.Gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            RunAttention(batch, layer, ref job);
        }

        for (int i = 0; i < batch.Count; i++)
        {
            GC.KeepAlive(batch.Cache(i));
        }

        GC.KeepAlive(queries.Buffer);
        GC.KeepAlive(output.Buffer);
    }

    /// <inheritdoc/>
    public void GroupAttention(Matrix queries, Matrix k, Matrix v, Matrix output, int groupRows, int heads, int kvHeads, float scale)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(groupRows);
        Check(heads > 0 && kvHeads > 0 && heads % kvHeads == 0 && queries.Columns % heads == 0, "GroupAttention's heads do not divide its queries");
        Check(queries.Rows % groupRows == 0, "GroupAttention's rows are no whole groups");
        int headSize = queries.Columns / heads;
        Expect(k, queries.Rows, kvHeads * headSize, "GroupAttention's k");
        Expect(v, queries.Rows, kvHeads * headSize, "GroupAttention's v");
        Expect(output, queries.Rows, queries.Columns, "GroupAttention's output");
        int group = heads / kvHeads, rowSize = SimdMath.PadLanes(headSize);
        AttentionJob job = new()
        {
            KvHeads = kvHeads,
            Group = group,
            HeadSize = headSize,
            Scale = scale,
            Scores = _native == null ? null : _native.Scores,
            Values = _native == null ? null : _native.Values,
            Queries = Data(queries),
            QueryStride = queries.Stride,
            Output = Data(output),
            OutputStride = output.Stride,
            GroupKeys = Data(k),
            GroupKeyStride = k.Stride,
            GroupValues = Data(v),
            GroupValueStride = v.Stride,
            GroupRows = groupRows,
            QueryCapacity = Math.Max(1, QueriesPerBlock / group) * group,
            ScoreStride = SimdMath.PadLanes(groupRows) + 16,
        };
        lock (_team.Gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            job.Scratch = _scratch.PerThread(AttentionJob.GroupScratchBytes(job.QueryCapacity, rowSize, job.ScoreStride, groupRows));
            job.ScratchStride = _scratch.ThreadStride;
            RunItems(_kernels.GroupAttention, &job, queries.Rows / groupRows * kvHeads, OperationCosts.GroupAttention(queries.Rows / groupRows, groupRows, heads, kvHeads, headSize));
        }

        GC.KeepAlive(queries.Buffer);
        GC.KeepAlive(k.Buffer);
        GC.KeepAlive(v.Buffer);
        GC.KeepAlive(output.Buffer);
    }

    /// <inheritdoc/>
    public void GatherLayers(KvCache cache, CacheRow firstRow, int count, Matrix output)
    {
        CpuKvCache from = Cpu(cache);
        int headSize = from.HeadSize;
        Check(count >= 0 && firstRow.Value >= 0 && firstRow.Value + (long)count <= from.Capacity, "GatherLayers is asked for rows outside the cache");
        Expect(output, checked(count * from.Layers), 2 * from.KvHeads * headSize, "GatherLayers' output");
        float* to = Data(output);
        delegate*<byte*, float*, int, void> load = _kernels.RowDecoder(from.Type switch { KvType.F32 => TensorType.F32, KvType.F16 => TensorType.F16, _ => TensorType.BF16 });
        long rowBytes = (long)from.RowSize * from.ElementBytes;
        for (int layer = 0; layer < from.Layers; layer++)
        {
            for (int head = 0; head < from.KvHeads; head++)
            {
                long offset = (head * from.HeadStride * from.ElementBytes) + (firstRow.Value * rowBytes);
                byte* keys = from.Keys(layer) + offset, values = from.Values(layer) + offset;
                for (int t = 0; t < count; t++)
                {
                    float* row = to + ((((long)t * from.Layers) + layer) * output.Stride) + (2 * head * headSize);
                    load(keys + (t * rowBytes), row, headSize);
                    load(values + (t * rowBytes), row + headSize, headSize);
                }
            }
        }

        GC.KeepAlive(cache);
        GC.KeepAlive(output.Buffer);
    }

    /// <inheritdoc/>
    public void KeepRows(KvCache cache, CacheRow baseRow, ReadOnlySpan<int> rows)
    {
        CpuKvCache kv = Cpu(cache);
        int at = baseRow.Value;
        Check(at >= 0 && at + (long)rows.Length <= kv.Capacity, "KeepRows reaches beyond the cache");
        int moved = 0;
        for (int i = 0; i < rows.Length; i++)
        {
            Check(rows[i] >= at + i && rows[i] < kv.Capacity && (i == 0 || rows[i] > rows[i - 1]), "KeepRows' rows are not ascending from the base row");
            moved += rows[i] == at + i ? 1 : 0;
        }

        long bytes = (long)kv.RowSize * kv.ElementBytes;
        for (int layer = 0; layer < (moved == rows.Length ? 0 : kv.Layers); layer++)
        {
            for (int head = 0; head < kv.KvHeads; head++)
            {
                long start = head * kv.HeadStride * kv.ElementBytes;
                byte* keys = kv.Keys(layer) + start, values = kv.Values(layer) + start;
                for (int i = 0; i < rows.Length; i++)
                {
                    if (rows[i] != at + i)
                    {
                        long from = rows[i] * bytes, to = (at + i) * bytes;
                        Buffer.MemoryCopy(keys + from, keys + to, bytes, bytes);
                        Buffer.MemoryCopy(values + from, values + to, bytes, bytes);
                    }
                }
            }
        }

        kv.Length = at + rows.Length;
        GC.KeepAlive(cache);
    }

    /// <summary>
    /// Spells the batch out in shared working memory, [rows][blocks][ancestor rows][finished parts][sums of key blocks], and runs it. Holds the team's gate.
    /// </summary>
    private void RunAttention(PassBatch batch, int layer, ref AttentionJob job)
    {
        int n = batch.Count, mostKeys = 0, longest = 0;
        long ancestors = 0, keys = 0;
        KvType type = Cpu(batch.Cache(0)).Type;
        job.ElementType = type switch { KvType.F32 => 0, KvType.F16 => 1, _ => 2 };
        bool isFinite = true;
        ReadOnlySpan<int> prefix = batch.Prefix;
        for (int i = 0; i < n; i++)
        {
            CpuKvCache cache = Cpu(batch.Cache(i));
            Check(cache.KvHeads == job.KvHeads && cache.HeadSize == job.HeadSize && (uint)layer < (uint)cache.Layers, "Attention's caches differ in shape or lack the layer");
            Check(cache.Type == type, "Attention's caches differ in type");
            Check(prefix[i] >= 0 && prefix[i] <= cache.Capacity, "a prefix lies outside the cache");
            int list = batch.Ancestors(i).Length;
            ancestors += list;
            keys += prefix[i] + list;
            longest = Math.Max(longest, prefix[i] + list);
            isFinite &= cache.IsFinite;

            // Sized by what the cache can hold, so that working memory does not grow with every token.
            mostKeys = Math.Max(mostKeys, cache.Capacity + list);
        }

        // What is worth sharing is counted as for f32: narrower elements take as long once they lie in a near cache.
        OperationCost cost = OperationCosts.Attention(keys, job.Group * job.KvHeads, job.KvHeads, job.HeadSize);
        int rowsPerBlock = Math.Max(1, QueriesPerBlock / job.Group), wanted = _team.Threads == 1 ? 1 : 3 * _team.Threads;
        rowsPerBlock = Math.Clamp(n * job.KvHeads / wanted, 1, rowsPerBlock);
        job.QueryCapacity = rowsPerBlock * job.Group;
        job.KeyParts = 1;
        job.KeyBlocks = (mostKeys + AttentionJob.KeyBlock - 1) / AttentionJob.KeyBlock;
        int units = CountBlocks(batch, rowsPerBlock) * job.KvHeads, rowSize = SimdMath.PadLanes(job.HeadSize);
        long partials = units * (long)job.KeyBlocks * AttentionSums.Floats(job.QueryCapacity, rowSize) * sizeof(float);
        int items = Items(int.MaxValue, cost.Bytes, cost.Flops);
        if (units < items && partials <= MostPartialBytes)
        {
            job.KeyParts = Math.Min(Math.Max(1, (longest + AttentionJob.KeyBlock - 1) / AttentionJob.KeyBlock), (items + units - 1) / units);
        }

        long lists = (n * (long)(sizeof(AttentionRow) + sizeof(AttentionBlock))) + ((ancestors + units) * sizeof(int));
        lists = (lists + 63) & ~63L;
        byte* shared = _scratch.Shared(lists + (job.KeyParts > 1 ? partials : 0));
        job.Rows = (AttentionRow*)shared;
        job.Blocks = (AttentionBlock*)(job.Rows + n);
        int* ancestorRows = (int*)(job.Blocks + n);
        job.Finished = ancestorRows + ancestors;
        job.Partials = (float*)(shared + lists);
        new Span<int>(job.Finished, units).Clear();
        for (int i = 0; i < n; i++)
        {
            CpuKvCache cache = Cpu(batch.Cache(i));
            ReadOnlySpan<int> list = batch.Ancestors(i);
            foreach (int row in list)
            {
                Check((uint)row < (uint)cache.Capacity, "an ancestor row lies outside the cache");
            }

            list.CopyTo(new Span<int>(ancestorRows, list.Length));
            job.Rows[i] = new AttentionRow
            {
                Keys = cache.Keys(layer),
                Values = cache.Values(layer),
                HeadStride = cache.HeadStride,
                Prefix = prefix[i],
                AncestorCount = list.Length,
                Ancestors = ancestorRows,
            };
            ancestorRows += list.Length;
        }

        FormBlocks(batch, job.Rows, job.Blocks, rowsPerBlock);
        job.Scratch = _scratch.PerThread(AttentionJob.CachedScratchBytes(job.QueryCapacity, rowSize));
        job.ScratchStride = _scratch.ThreadStride;
        fixed (AttentionJob* pointer = &job)
        {
            RunItems(_kernels.Attention(type, isFinite), pointer, units * job.KeyParts, cost);
        }
    }

    /// <summary>How many blocks <see cref="FormBlocks"/> makes of the batch.</summary>
    private static int CountBlocks(PassBatch batch, int rowsPerBlock)
    {
        int count = 0;
        for (int i = 0, rows = 0; i < batch.Count; i++, rows++)
        {
            if (i == 0 || rows == rowsPerBlock || !ReferenceEquals(batch.Cache(i), batch.Cache(i - 1)))
            {
                count++;
                rows = 0;
            }
        }

        return count;
    }

    private static void FormBlocks(PassBatch batch, AttentionRow* rows, AttentionBlock* blocks, int rowsPerBlock)
    {
        int count = 0;
        for (int i = 0; i < batch.Count; i++)
        {
            AttentionBlock* last = blocks + count - 1;
            if (count == 0 || last->Rows == rowsPerBlock || !ReferenceEquals(batch.Cache(i), batch.Cache(i - 1)))
            {
                last = blocks + count++;
                *last = new AttentionBlock { First = i, CommonPrefix = int.MaxValue };
            }

            last->Rows++;
            last->CommonPrefix = Math.Min(last->CommonPrefix, rows[i].Prefix);
            last->LongestPrefix = Math.Max(last->LongestPrefix, rows[i].Prefix);
            last->MostKeys = Math.Max(last->MostKeys, rows[i].Prefix + rows[i].AncestorCount);
        }
    }

    /// <summary>Runs items on the team, or on the caller alone where they are too little work to share. Holds the team's gate.</summary>
    private void RunItems(delegate*<void*, int, int, void> kernel, void* job, int items, OperationCost cost)
    {
        if (Items(items, cost.Bytes, cost.Flops) > 1)
        {
            _team.Run(kernel, job, items);
            return;
        }

        for (int item = 0; item < items; item++)
        {
            kernel(job, 0, item);
        }
    }
}

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <content>Caches and attention.</content>
public sealed unsafe partial class CpuBackend
{
    // Queries (rows x heads of a group) that share the loads of keys and values.
    private const int QueriesPerBlock = 12;

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
            long bytes = (long)cache.HeadSize * sizeof(float);
            float* toKeys = cache.Keys(layer) + ((long)cacheRows[i] * cache.RowSize), toValues = cache.Values(layer) + ((long)cacheRows[i] * cache.RowSize);
            for (int head = 0; head < cache.KvHeads; head++)
            {
                Buffer.MemoryCopy(keys + ((long)i * k.Stride) + (head * cache.HeadSize), toKeys + (head * cache.HeadStride), bytes, bytes);
                Buffer.MemoryCopy(values + ((long)i * v.Stride) + (head * cache.HeadSize), toValues + (head * cache.HeadStride), bytes, bytes);
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
            job.Scratch = _scratch.PerThread(AttentionJob.ScratchBytes(job.QueryCapacity, rowSize, job.ScoreStride, groupRows));
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
        long bytes = (long)headSize * sizeof(float);
        for (int layer = 0; layer < from.Layers; layer++)
        {
            for (int head = 0; head < from.KvHeads; head++)
            {
                long offset = (head * from.HeadStride) + ((long)firstRow.Value * from.RowSize);
                float* keys = from.Keys(layer) + offset, values = from.Values(layer) + offset;
                for (int t = 0; t < count; t++)
                {
                    float* row = to + ((((long)t * from.Layers) + layer) * output.Stride) + (2 * head * headSize);
                    Buffer.MemoryCopy(keys + ((long)t * from.RowSize), row, bytes, bytes);
                    Buffer.MemoryCopy(values + ((long)t * from.RowSize), row + headSize, bytes, bytes);
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

        long bytes = (long)kv.RowSize * sizeof(float);
        for (int layer = 0; layer < (moved == rows.Length ? 0 : kv.Layers); layer++)
        {
            for (int head = 0; head < kv.KvHeads; head++)
            {
                float* keys = kv.Keys(layer) + (head * kv.HeadStride), values = kv.Values(layer) + (head * kv.HeadStride);
                for (int i = 0; i < rows.Length; i++)
                {
                    if (rows[i] != at + i)
                    {
                        long from = (long)rows[i] * kv.RowSize, to = (long)(at + i) * kv.RowSize;
                        Buffer.MemoryCopy(keys + from, keys + to, bytes, bytes);
                        Buffer.MemoryCopy(values + from, values + to, bytes, bytes);
                    }
                }
            }
        }

        kv.Length = at + rows.Length;
        GC.KeepAlive(cache);
    }

    /// <summary>Spells the batch out in shared working memory, [rows][blocks][ancestor rows], and runs it. Holds the team's gate.</summary>
    private void RunAttention(PassBatch batch, int layer, ref AttentionJob job)
    {
        int n = batch.Count, mostKeys = 0;
        long ancestors = 0, keys = 0;
        ReadOnlySpan<int> prefix = batch.Prefix;
        for (int i = 0; i < n; i++)
        {
            CpuKvCache cache = Cpu(batch.Cache(i));
            Check(cache.KvHeads == job.KvHeads && cache.HeadSize == job.HeadSize && (uint)layer < (uint)cache.Layers, "Attention's caches differ in shape or lack the layer");
            Check(prefix[i] >= 0 && prefix[i] <= cache.Capacity, "a prefix lies outside the cache");
            int list = batch.Ancestors(i).Length;
            ancestors += list;
            keys += prefix[i] + list;

            // Sized by what the cache can hold, so that working memory does not grow with every token.
            mostKeys = Math.Max(mostKeys, cache.Capacity + list);
        }

        byte* shared = _scratch.Shared((n * (long)(sizeof(AttentionRow) + sizeof(AttentionBlock))) + (ancestors * sizeof(int)));
        job.Rows = (AttentionRow*)shared;
        job.Blocks = (AttentionBlock*)(job.Rows + n);
        int* ancestorRows = (int*)(job.Blocks + n);
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

        OperationCost cost = OperationCosts.Attention(keys, job.Group * job.KvHeads, job.KvHeads, job.HeadSize);
        int rowsPerBlock = Math.Max(1, QueriesPerBlock / job.Group), wanted = _team.Threads == 1 ? 1 : 3 * _team.Threads;
        rowsPerBlock = Math.Clamp(n * job.KvHeads / wanted, 1, rowsPerBlock);
        int blocks = FormBlocks(batch, job.Rows, job.Blocks, rowsPerBlock);
        job.QueryCapacity = rowsPerBlock * job.Group;
        job.ScoreStride = SimdMath.PadLanes(mostKeys) + 16;
        job.Scratch = _scratch.PerThread(AttentionJob.ScratchBytes(job.QueryCapacity, SimdMath.PadLanes(job.HeadSize), job.ScoreStride, 0));
        job.ScratchStride = _scratch.ThreadStride;
        fixed (AttentionJob* pointer = &job)
        {
            RunItems(_kernels.Attention, pointer, blocks * job.KvHeads, cost);
        }
    }

    private static int FormBlocks(PassBatch batch, AttentionRow* rows, AttentionBlock* blocks, int rowsPerBlock)
    {
        int count = 0;
        for (int i = 0; i < batch.Count; i++)
        {
            AttentionBlock* last = blocks + count - 1;
            if (count > 0 && last->Rows < rowsPerBlock && ReferenceEquals(batch.Cache(i), batch.Cache(last->First)))
            {
                last->Rows++;
                last->CommonPrefix = Math.Min(last->CommonPrefix, rows[i].Prefix);
                last->LongestPrefix = Math.Max(last->LongestPrefix, rows[i].Prefix);
            }
            else
            {
                blocks[count++] = new AttentionBlock { First = i, Rows = 1, CommonPrefix = rows[i].Prefix, LongestPrefix = rows[i].Prefix };
            }
        }

        return count;
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

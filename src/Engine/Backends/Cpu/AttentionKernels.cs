using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>
/// Softmax attention. A query's keys are numbered 0, 1, .. in the order it sees them; every reduction goes by that number and never
/// by where a key lies, so a token gives the same bits in a tree as in a row. Per (query, key): one 16-lane dot product. Per query and block of
/// <see cref="AttentionJob.KeyBlock"/> numbers: the maximum, e^(score - max) summed in lane (number mod 16), and one chain of fused multiply-adds
/// over the values per element. Blocks join in ascending order: the sums so far and the block's are scaled by e^(own maximum - larger maximum), one of
/// which is 1, the former with a product, the latter in a fused multiply-add. At the end the fixed tree over the lanes and a product with the rounded reciprocal of the sum.
/// No more than a block's scores exist at a time, and blocks may be computed on different threads.
/// </summary>
internal static unsafe class AttentionKernels<TVec, TElement>
    where TVec : unmanaged, ISimd16<TVec>
    where TElement : unmanaged, IStoredElement<TElement, TVec>
{
    // Keys that are asked for before their turn. The weights have driven them out of the near caches since the last pass.
    private const int KeysAhead = 8;

    /// <summary>One block of rows against one kv head of their cache, or against a part of its keys.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Cached(void* pointer, int thread, int item)
    {
        AttentionJob* job = (AttentionJob*)pointer;
        (int unit, int part) = Math.DivRem(item, job->KeyParts);
        (int blockIndex, int head) = Math.DivRem(unit, job->KvHeads);
        AttentionBlock* block = job->Blocks + blockIndex;
        int queries = block->Rows * job->Group, rowSize = SimdMath.PadLanes(job->HeadSize);
        int keyBlocks = Math.Max(1, (block->MostKeys + AttentionJob.KeyBlock - 1) / AttentionJob.KeyBlock);
        int first = (int)((long)part * keyBlocks / job->KeyParts), end = (int)((part + 1L) * keyBlocks / job->KeyParts);
        float* q = (float*)(job->Scratch + (thread * job->ScratchStride));
        float* scores = q + ((long)queries * rowSize), tile = scores + ((long)queries * AttentionJob.KeyScoreStride), sums = tile + SimdMath.PadLanes(4 * queries);
        if (first < end)
        {
            for (int r = 0; r < block->Rows; r++)
            {
                PackQueries(job, block->First + r, head, q + ((long)r * job->Group * rowSize), rowSize);
            }
        }

        long size = AttentionSums.Floats(queries, rowSize);
        if (job->KeyParts > 1)
        {
            float* partials = job->Partials + (unit * job->KeyBlocks * AttentionSums.Floats(job->QueryCapacity, rowSize));
            for (int b = first; b < end; b++)
            {
                SumBlock(job, block, head, b, q, scores, tile, new AttentionSums(partials + (b * size), queries, rowSize));
            }

            // Whoever finishes the last part joins the blocks; the increment orders the others' writes before its reads.
            if (Interlocked.Increment(ref job->Finished[unit]) == job->KeyParts)
            {
                AttentionSums all = new(partials, queries, rowSize);
                for (int b = 1; b < keyBlocks; b++)
                {
                    Join(job, block, b, all, new AttentionSums(partials + (b * size), queries, rowSize));
                }

                PutOutputs(job, block, head, all);
            }

            return;
        }

        AttentionSums total = new(sums, queries, rowSize), next = new(sums + size, queries, rowSize);
        SumBlock(job, block, head, 0, q, scores, tile, total);
        for (int b = 1; b < keyBlocks; b++)
        {
            SumBlock(job, block, head, b, q, scores, tile, next);
            Join(job, block, b, total, next);
        }

        PutOutputs(job, block, head, total);
    }

    /// <summary>The sums of key block <paramref name="b"/> for a block of rows; zeros for rows that see none of it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void SumBlock(AttentionJob* job, AttentionBlock* block, int head, int b, float* q, float* scores, float* tile, AttentionSums sums)
    {
        AttentionRow* rows = job->Rows + block->First;
        int group = job->Group, queries = block->Rows * group, rowSize = SimdMath.PadLanes(job->HeadSize);
        int start = b * AttentionJob.KeyBlock;
        TElement* keys = (TElement*)rows->Keys + (head * rows->HeadStride), values = (TElement*)rows->Values + (head * rows->HeadStride);
        TElement* startKeys = keys + ((long)start * rowSize), startValues = values + ((long)start * rowSize);

        // Scores of a row beyond its own prefix are overwritten by its ancestors' or ignored.
        int prefix = Math.Min(block->LongestPrefix - start, AttentionJob.KeyBlock);
        Scores(job, startKeys, rowSize, null, prefix, q, queries, scores, AttentionJob.KeyScoreStride, tile, startValues);
        for (int r = 0; r < block->Rows; r++)
        {
            (int own, int ancestor, int ancestors) = Visible(rows + r, start);
            float* rowScores = scores + ((long)r * group * AttentionJob.KeyScoreStride);
            Scores(job, keys, rowSize, rows[r].Ancestors + ancestor, ancestors, q + ((long)r * group * rowSize), group, rowScores + own, AttentionJob.KeyScoreStride, tile, null);
            for (int i = r * group; i < (r + 1) * group; i++, rowScores += AttentionJob.KeyScoreStride)
            {
                TVec.Store(Exponentials(rowScores, own + ancestors, out sums.Maxima[i]), sums.Weights + (i * 16));
            }
        }

        Unsafe.InitBlockUnaligned(sums.Values, 0, (uint)(queries * rowSize * sizeof(float)));
        int common = Math.Clamp(block->CommonPrefix - start, 0, AttentionJob.KeyBlock);
        AddValues(job, scores, AttentionJob.KeyScoreStride, startValues, rowSize, null, common, sums.Values, queries);
        for (int r = 0; r < block->Rows; r++)
        {
            (int own, int ancestor, int ancestors) = Visible(rows + r, start);
            float* weights = scores + ((long)r * group * AttentionJob.KeyScoreStride), to = sums.Values + ((long)r * group * rowSize);
            AddValues(job, weights + common, AttentionJob.KeyScoreStride, startValues + ((long)common * rowSize), rowSize, null, own - common, to, group);
            AddValues(job, weights + own, AttentionJob.KeyScoreStride, values, rowSize, rows[r].Ancestors + ancestor, ancestors, to, group);
        }
    }

    /// <summary>What a row sees of the key block from number <paramref name="start"/> on: keys of its prefix, then some ancestors.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static (int Own, int Ancestor, int Ancestors) Visible(AttentionRow* row, int start)
    {
        int own = Math.Clamp(row->Prefix - start, 0, AttentionJob.KeyBlock);
        int first = Math.Clamp(start - row->Prefix, 0, row->AncestorCount);
        return (own, first, Math.Min(row->AncestorCount - first, AttentionJob.KeyBlock - own));
    }

    /// <summary>Adds key block <paramref name="b"/>'s sums to those of the blocks before it, for the rows that see some of it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Join(AttentionJob* job, AttentionBlock* block, int b, AttentionSums total, AttentionSums next)
    {
        int rowSize = SimdMath.PadLanes(job->HeadSize), queries = block->Rows * job->Group;
        for (int i = 0; i < queries; i += 16)
        {
            TVec before = TVec.Load(total.Maxima + i), added = TVec.Load(next.Maxima + i), both = TVec.Max(before, added);
            TVec.Store(SimdMath.ExpOfNegative(TVec.Subtract(before, both)), next.Factors + i);
            TVec.Store(SimdMath.ExpOfNegative(TVec.Subtract(added, both)), next.AddedFactors + i);
            TVec.Store(both, next.Maxima + i);
        }

        for (int r = 0; r < block->Rows; r++)
        {
            AttentionRow* row = job->Rows + block->First + r;
            if (row->Prefix + row->AncestorCount <= b * AttentionJob.KeyBlock)
            {
                continue;
            }

            for (int i = r * job->Group; i < (r + 1) * job->Group; i++)
            {
                TVec before = TVec.Broadcast(next.Factors[i]), added = TVec.Broadcast(next.AddedFactors[i]);
                total.Maxima[i] = next.Maxima[i];
                float* to = total.Values + ((long)i * rowSize), from = next.Values + ((long)i * rowSize);
                for (int d = 0; d < rowSize; d += 16)
                {
                    JoinVector(to + d, from + d, before, added);
                }

                JoinVector(total.Weights + (i * 16), next.Weights + (i * 16), before, added);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void JoinVector(float* to, float* from, TVec before, TVec added) =>
        TVec.Store(TVec.Fma(TVec.Load(from), added, TVec.Multiply(TVec.Load(to), before)), to);

    /// <summary>Divides and writes a block of rows.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PutOutputs(AttentionJob* job, AttentionBlock* block, int head, AttentionSums sums)
    {
        int rowSize = SimdMath.PadLanes(job->HeadSize);
        float* reciprocals = sums.Maxima;
        for (int r = 0; r < block->Rows; r++)
        {
            AttentionRow* row = job->Rows + block->First + r;
            for (int i = r * job->Group; i < (r + 1) * job->Group; i++)
            {
                reciprocals[i] = row->Prefix + row->AncestorCount == 0 ? 0f : 1f / TVec.Sum(TVec.Load(sums.Weights + (i * 16)));
            }

            PutOutputs(job, block->First + r, head, sums.Values + ((long)r * job->Group * rowSize), rowSize, reciprocals + (r * job->Group));
        }
    }

    /// <summary>One group of rows against itself, one kv head; f32 elements. A group is one block of keys, whatever its length.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Grouped(void* pointer, int thread, int item)
    {
        AttentionJob* job = (AttentionJob*)pointer;
        (int groupIndex, int head) = Math.DivRem(item, job->KvHeads);
        int length = job->GroupRows, first = groupIndex * length, group = job->Group, headSize = job->HeadSize;
        int rowSize = SimdMath.PadLanes(headSize), scoreStride = job->ScoreStride;
        float* q = (float*)(job->Scratch + (thread * job->ScratchStride));
        float* sums = q + ((long)job->QueryCapacity * rowSize);
        float* tile = sums + ((long)job->QueryCapacity * rowSize);
        float* reciprocals = tile + ((long)job->QueryCapacity * 8);
        float* scores = tile + ((long)job->QueryCapacity * 16);
        float* keys = scores + ((long)job->QueryCapacity * scoreStride), values = keys + ((long)length * rowSize);
        for (int i = 0; i < length; i++)
        {
            SimdMath.CopyPadded(job->GroupKeys + ((first + i) * job->GroupKeyStride) + ((long)head * headSize), keys + ((long)i * rowSize), headSize);
            SimdMath.CopyPadded(job->GroupValues + ((first + i) * job->GroupValueStride) + ((long)head * headSize), values + ((long)i * rowSize), headSize);
        }

        int rowsAtOnce = job->QueryCapacity / group;
        for (int start = 0; start < length; start += rowsAtOnce)
        {
            int rows = Math.Min(rowsAtOnce, length - start), queries = rows * group;
            for (int r = 0; r < rows; r++)
            {
                PackQueries(job, first + start + r, head, q + ((long)r * group * rowSize), rowSize);
            }

            Scores(job, (TElement*)keys, rowSize, null, length, q, queries, scores, scoreStride, tile, null);
            for (int i = 0; i < queries; i++)
            {
                reciprocals[i] = 1f / TVec.Sum(Exponentials(scores + ((long)i * scoreStride), length, out _));
            }

            Unsafe.InitBlockUnaligned(sums, 0, (uint)(queries * rowSize * sizeof(float)));
            AddValues(job, scores, scoreStride, (TElement*)values, rowSize, null, length, sums, queries);
            for (int r = 0; r < rows; r++)
            {
                PutOutputs(job, first + start + r, head, sums + ((long)r * group * rowSize), rowSize, reciprocals + (r * group));
            }
        }
    }

    /// <summary>Copies the queries of a row's head group to [group, rowSize], padded with zeros.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PackQueries(AttentionJob* job, int row, int head, float* destination, int rowSize)
    {
        float* source = job->Queries + (row * job->QueryStride) + ((long)head * job->Group * job->HeadSize);
        for (int h = 0; h < job->Group; h++)
        {
            SimdMath.CopyPadded(source + ((long)h * job->HeadSize), destination + ((long)h * rowSize), job->HeadSize);
        }
    }

    /// <summary>
    /// scores[query, j] = q[query] . key[j] * scale for <paramref name="count"/> keys: rows 0.. or those listed. Writes up to 3 more
    /// scores per query. Where <paramref name="values"/> are given, they and the keys to come are asked for meanwhile.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Scores(
        AttentionJob* job, TElement* keys, int rowSize, int* rows, int count, float* q, int queries, float* scores, int scoreStride, float* tile, TElement* values)
    {
        if (job->Scores != null)
        {
            var native = (delegate* unmanaged[Cdecl, SuppressGCTransition]<int, byte*, int, int*, int, float*, int, float, float*, long, byte*, void>)job->Scores;
            native(job->ElementType, (byte*)keys, rowSize, rows, count, q, queries, job->Scale, scores, scoreStride, (byte*)values);
            return;
        }

        Vector128<float> scales = Vector128.Create(job->Scale);
        for (int j = 0; j < count; j += 4)
        {
            int last = count - 1;
            TElement* k0 = Key(j), k1 = Key(Math.Min(j + 1, last)), k2 = Key(Math.Min(j + 2, last)), k3 = Key(Math.Min(j + 3, last));
            if (values is not null)
            {
                byte* keyAhead = (byte*)(k0 + (KeysAhead * rowSize)), valueAhead = (byte*)(values + ((long)j * rowSize));
                for (int line = 0; line < 4 * rowSize * sizeof(TElement); line += 64)
                {
                    SimdMath.Prefetch(keyAhead + line);
                    SimdMath.Prefetch(valueAhead + line);
                }
            }

            DotKernels<TVec, TElement>.Run(k0, k1, k2, k3, q, rowSize, queries, rowSize, tile);
            for (int i = 0; i < queries; i++)
            {
                (Vector128.Load(tile + (4 * i)) * scales).Store(scores + ((long)i * scoreStride) + j);
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        TElement* Key(int j) => keys + ((long)(rows is null ? j : rows[j]) * rowSize);
    }

    /// <summary><see cref="ValueKernels{TVec, TElement}.Run"/>, or the native library's kernel.</summary>
    public static void AddValues(AttentionJob* job, float* p, int pStride, TElement* v, int rowSize, int* rows, int count, float* sums, int queries)
    {
        if (job->Values == null)
        {
            ValueKernels<TVec, TElement>.Run(p, pStride, v, rowSize, rows, count, sums, queries);
            return;
        }

        var native = (delegate* unmanaged[Cdecl, SuppressGCTransition]<int, float*, long, byte*, int, int*, int, float*, int, void>)job->Values;
        native(job->ElementType, p, pStride, (byte*)v, rowSize, rows, count, sums, queries);
    }

    /// <summary>Replaces scores by e^(score - max); overwrites up to 16 elements after them.</summary>
    /// <param name="scores">[<paramref name="count"/>].</param>
    /// <param name="count">Keys.</param>
    /// <param name="max">The largest score that is a number; the smallest f32 where that is less or there is none.</param>
    /// <returns>Their sums by number mod 16; zeros without keys.</returns>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static TVec Exponentials(float* scores, int count, out float max)
    {
        TVec.Store(TVec.Broadcast(float.NegativeInfinity), scores + count);
        TVec largest = TVec.Broadcast(float.MinValue), sum = TVec.Zero;
        for (int i = 0; i < count; i += 16)
        {
            largest = TVec.Max(TVec.Load(scores + i), largest);
        }

        max = SimdMath.LargestLane(largest);
        largest = TVec.Broadcast(max);
        for (int i = 0; i < count; i += 16)
        {
            TVec e = SimdMath.ExpOfNegative(TVec.Subtract(TVec.Load(scores + i), largest));
            sum = TVec.Add(sum, e);
            TVec.Store(e, scores + i);
        }

        return sum;
    }

    /// <summary>output = sums * reciprocal for a row's head group.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PutOutputs(AttentionJob* job, int row, int head, float* sums, int rowSize, float* reciprocals)
    {
        float* destination = job->Output + (row * job->OutputStride) + ((long)head * job->Group * job->HeadSize);
        int whole = job->HeadSize & ~15;
        for (int h = 0; h < job->Group; h++, destination += job->HeadSize, sums += rowSize)
        {
            TVec scale = TVec.Broadcast(reciprocals[h]);
            for (int i = 0; i < whole; i += 16)
            {
                TVec.Store(TVec.Multiply(TVec.Load(sums + i), scale), destination + i);
            }

            for (int i = whole; i < job->HeadSize; i++)
            {
                destination[i] = sums[i] * reciprocals[h];
            }
        }
    }
}

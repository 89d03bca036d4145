using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>What one query row sees.</summary>
internal unsafe struct AttentionRow
{
    /// <summary>Keys [kv heads, capacity, row size] of the layer.</summary>
    public float* Keys;

    /// <summary>Values, likewise.</summary>
    public float* Values;

    /// <summary>Elements from one kv head to the next.</summary>
    public long HeadStride;

    /// <summary>Leading cache rows seen.</summary>
    public int Prefix;

    /// <summary>Single rows seen after them.</summary>
    public int AncestorCount;

    /// <summary>Their cache rows.</summary>
    public int* Ancestors;
}

/// <summary>Consecutive query rows over one cache that share the loads of its keys and values.</summary>
internal struct AttentionBlock
{
    /// <summary>First row.</summary>
    public int First;

    /// <summary>Rows.</summary>
    public int Rows;

    /// <summary>Shortest prefix among them.</summary>
    public int CommonPrefix;

    /// <summary>Longest prefix among them.</summary>
    public int LongestPrefix;
}

/// <summary>Attention over caches for the thread team: items are (block, kv head).</summary>
internal unsafe struct AttentionJob
{
    /// <summary>[n].</summary>
    public AttentionRow* Rows;

    /// <summary>Partition of the rows.</summary>
    public AttentionBlock* Blocks;

    /// <summary>K.</summary>
    public int KvHeads;

    /// <summary>H / K.</summary>
    public int Group;

    /// <summary>D.</summary>
    public int HeadSize;

    /// <summary>Softmax scale.</summary>
    public float Scale;

    /// <summary>[n, H*D].</summary>
    public float* Queries;

    /// <summary>Elements between query rows.</summary>
    public nint QueryStride;

    /// <summary>[n, H*D].</summary>
    public float* Output;

    /// <summary>Elements between output rows.</summary>
    public nint OutputStride;

    /// <summary>Keys [n, K*D] and values of group attention.</summary>
    public float* GroupKeys, GroupValues;

    /// <summary>Elements between their rows.</summary>
    public nint GroupKeyStride, GroupValueStride;

    /// <summary>L, rows per group of group attention.</summary>
    public int GroupRows;

    /// <summary>Most queries (rows x group heads) handled together.</summary>
    public int QueryCapacity;

    /// <summary>Elements between the score rows of two queries: most keys, rounded up, and one vector of slack.</summary>
    public int ScoreStride;

    /// <summary>First thread's working memory.</summary>
    public byte* Scratch;

    /// <summary>Bytes between the threads' parts.</summary>
    public long ScratchStride;

    /// <summary>Bytes of working memory per thread; <paramref name="packedRows"/> key and value rows are copied (group attention).</summary>
    public static long ScratchBytes(int queries, int rowSize, int scoreStride, int packedRows) =>
        sizeof(float) * (((long)queries * ((2 * rowSize) + 16 + scoreStride)) + (2L * packedRows * rowSize));
}

/// <summary>
/// Softmax attention. A query's keys are numbered 0, 1, .. in the order it sees them; every reduction goes by that number and never
/// by where a key lies, so a token gives the same bits in a tree as in a row. Per (query, key): one 16-lane dot product. Per query:
/// the maximum, e^(score - max) summed in lane (number mod 16), the fixed tree over the lanes, one chain of fused multiply-adds
/// over the values per element, and a product with the rounded reciprocal of the sum.
/// </summary>
internal static unsafe class AttentionKernels<TVec>
    where TVec : unmanaged, ISimd16<TVec>
{
    /// <summary>One block of rows against one kv head of their cache.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Cached(void* pointer, int thread, int item)
    {
        AttentionJob* job = (AttentionJob*)pointer;
        (int blockIndex, int head) = Math.DivRem(item, job->KvHeads);
        AttentionBlock block = job->Blocks[blockIndex];
        AttentionRow* rows = job->Rows + block.First;
        int group = job->Group, queries = block.Rows * group, rowSize = SimdMath.PadLanes(job->HeadSize);
        int scoreStride = job->ScoreStride;
        float* q = (float*)(job->Scratch + (thread * job->ScratchStride));
        float* sums = q + ((long)job->QueryCapacity * rowSize);
        float* tile = sums + ((long)job->QueryCapacity * rowSize);
        float* reciprocals = tile + ((long)job->QueryCapacity * 8);
        float* scores = tile + ((long)job->QueryCapacity * 16);
        float* keys = rows->Keys + (head * rows->HeadStride), values = rows->Values + (head * rows->HeadStride);

        for (int r = 0; r < block.Rows; r++)
        {
            PackQueries(job, block.First + r, head, q + ((long)r * group * rowSize), rowSize);
        }

        // Scores of a row beyond its own prefix are overwritten by its ancestors' or ignored.
        Scores(keys, rowSize, null, block.LongestPrefix, q, queries, job->Scale, scores, scoreStride, tile);
        for (int r = 0; r < block.Rows; r++)
        {
            AttentionRow* row = rows + r;
            float* rowScores = scores + ((long)r * group * scoreStride);
            Scores(
                keys, rowSize, row->Ancestors, row->AncestorCount, q + ((long)r * group * rowSize), group, job->Scale, rowScores + row->Prefix, scoreStride, tile);
            for (int h = 0; h < group; h++)
            {
                reciprocals[(r * group) + h] = Softmax(rowScores + ((long)h * scoreStride), row->Prefix + row->AncestorCount);
            }
        }

        Unsafe.InitBlockUnaligned(sums, 0, (uint)(queries * rowSize * sizeof(float)));
        ValueKernels<TVec>.Run(scores, scoreStride, values, rowSize, null, block.CommonPrefix, sums, queries);
        for (int r = 0; r < block.Rows; r++)
        {
            AttentionRow* row = rows + r;
            float* rowScores = scores + ((long)r * group * scoreStride), rowSums = sums + ((long)r * group * rowSize);
            ValueKernels<TVec>.Run(
                rowScores + block.CommonPrefix, scoreStride, values + ((long)block.CommonPrefix * rowSize), rowSize, null, row->Prefix - block.CommonPrefix, rowSums, group);
            ValueKernels<TVec>.Run(rowScores + row->Prefix, scoreStride, values, rowSize, row->Ancestors, row->AncestorCount, rowSums, group);
            PutOutputs(job, block.First + r, head, rowSums, rowSize, reciprocals + (r * group));
        }
    }

    /// <summary>One group of rows against itself, one kv head.</summary>
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

            Scores(keys, rowSize, null, length, q, queries, job->Scale, scores, scoreStride, tile);
            for (int i = 0; i < queries; i++)
            {
                reciprocals[i] = Softmax(scores + ((long)i * scoreStride), length);
            }

            Unsafe.InitBlockUnaligned(sums, 0, (uint)(queries * rowSize * sizeof(float)));
            ValueKernels<TVec>.Run(scores, scoreStride, values, rowSize, null, length, sums, queries);
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
    /// scores per query.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Scores(
        float* keys, int rowSize, int* rows, int count, float* q, int queries, float scale, float* scores, int scoreStride, float* tile)
    {
        Vector128<float> scales = Vector128.Create(scale);
        for (int j = 0; j < count; j += 4)
        {
            int last = count - 1;
            float* k0 = Key(j), k1 = Key(Math.Min(j + 1, last)), k2 = Key(Math.Min(j + 2, last)), k3 = Key(Math.Min(j + 3, last));
            DotKernels<TVec>.Run(k0, k1, k2, k3, q, rowSize, queries, rowSize, tile);
            for (int i = 0; i < queries; i++)
            {
                (Vector128.Load(tile + (4 * i)) * scales).Store(scores + ((long)i * scoreStride) + j);
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        float* Key(int j) => keys + ((long)(rows is null ? j : rows[j]) * rowSize);
    }

    /// <summary>Replaces scores by e^(score - max).</summary>
    /// <returns>The reciprocal of their sum; 0 without keys.</returns>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Softmax(float* scores, int count)
    {
        if (count == 0)
        {
            return 0f;
        }

        for (int i = count; (i & 15) != 0; i++)
        {
            scores[i] = float.NegativeInfinity;
        }

        TVec max = TVec.Broadcast(SimdMath.MaxOf<TVec>(scores, count)), sum = TVec.Zero;
        for (int i = 0; i < count; i += 16)
        {
            TVec e = SimdMath.Exp(TVec.Subtract(TVec.Load(scores + i), max));
            sum = TVec.Add(sum, e);
            TVec.Store(e, scores + i);
        }

        return 1f / TVec.Sum(sum);
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

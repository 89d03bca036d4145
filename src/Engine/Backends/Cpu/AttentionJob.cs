namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>What one query row sees.</summary>
internal unsafe struct AttentionRow
{
    /// <summary>Keys [kv heads, capacity, row size] of the layer, in the cache's type.</summary>
    public byte* Keys;

    /// <summary>Values, likewise.</summary>
    public byte* Values;

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

    /// <summary>Most keys that one of them sees, ancestors included.</summary>
    public int MostKeys;
}

/// <summary>Attention over caches for the thread team: items are (block, kv head, part of the keys).</summary>
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

    /// <summary>
    /// Keys of one block. A query's keys are numbered along its own path, and block b holds the numbers from b times this on: part of the
    /// definition of the result, so that no bit depends on the rows, threads or storage of a pass.
    /// </summary>
    public const int KeyBlock = 512;

    /// <summary>Elements between the score rows of two queries: a block and one vector of slack.</summary>
    public const int KeyScoreStride = KeyBlock + 16;

    /// <summary>Softmax scale.</summary>
    public float Scale;

    /// <summary>The native library's kernels, or null: the C# ones.</summary>
    public void* Scores, Values;

    /// <summary>Their number of the keys' and values' type: 0 = f32, 1 = IEEE halves, 2 = bfloat16.</summary>
    public int ElementType;

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

    /// <summary>Elements between the score rows of two queries of a group: its rows, rounded up, and one vector of slack.</summary>
    public int ScoreStride;

    /// <summary>First thread's working memory.</summary>
    public byte* Scratch;

    /// <summary>Bytes between the threads' parts.</summary>
    public long ScratchStride;

    /// <summary>Items that the keys of one (block, kv head) are split into.</summary>
    public int KeyParts;

    /// <summary>
    /// Where the keys are split: [blocks * kv heads, <see cref="KeyBlocks"/>] sums of key blocks, <see cref="AttentionSums.Floats"/> elements each.
    /// </summary>
    public float* Partials;

    /// <summary>Key blocks that <see cref="Partials"/> has room for per (block, kv head).</summary>
    public int KeyBlocks;

    /// <summary>Where the keys are split: finished parts of each (block, kv head), zero at the start.</summary>
    public int* Finished;

    /// <summary>Bytes of working memory per thread for attention over caches.</summary>
    public static long CachedScratchBytes(int queries, int rowSize) =>
        sizeof(float) * (((long)queries * (rowSize + 4 + KeyScoreStride)) + 32 + (2 * AttentionSums.Floats(queries, rowSize)));

    /// <summary>Bytes of working memory per thread for group attention; <paramref name="packedRows"/> key and value rows are copied.</summary>
    public static long GroupScratchBytes(int queries, int rowSize, int scoreStride, int packedRows) =>
        sizeof(float) * (((long)queries * ((2 * rowSize) + 16 + scoreStride)) + (2L * packedRows * rowSize));
}

/// <summary>What the keys of one or more blocks give for some queries: a softmax that has not been divided yet.</summary>
internal readonly unsafe struct AttentionSums
{
    /// <summary>Lays the sums of <paramref name="queries"/> queries out from <paramref name="memory"/> on.</summary>
    public AttentionSums(float* memory, int queries, int rowSize)
    {
        Values = memory;
        Weights = memory + ((long)queries * rowSize);
        Maxima = Weights + (queries * 16);
        Factors = Maxima + SimdMath.PadLanes(queries);
        AddedFactors = Factors + SimdMath.PadLanes(queries);
    }

    /// <summary>[queries, row size]: sum of e^(score - maximum) value.</summary>
    public float* Values { get; }

    /// <summary>[queries, 16]: sum of e^(score - maximum) by the key's number mod 16.</summary>
    public float* Weights { get; }

    /// <summary>[queries]: largest score, the smallest f32 at least.</summary>
    public float* Maxima { get; }

    /// <summary>[queries]: room for what the sums of the blocks before these are scaled by.</summary>
    public float* Factors { get; }

    /// <summary>[queries]: room for what these sums are scaled by.</summary>
    public float* AddedFactors { get; }

    /// <summary>Elements that the sums of <paramref name="queries"/> queries take.</summary>
    public static long Floats(int queries, int rowSize) => ((long)queries * (rowSize + 16)) + (3 * SimdMath.PadLanes(queries));
}

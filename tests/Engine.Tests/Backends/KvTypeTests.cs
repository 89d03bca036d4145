using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Backends.Cpu;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Backends;

/// <summary>Caches of each type on the CPU: 16 bits change what is stored and nothing else. Contexts reach over several blocks of keys.</summary>
public abstract class KvTypeTests<TFactory> : BackendTest<TFactory>
    where TFactory : CpuFactory, new()
{
    private const int Block = AttentionJob.KeyBlock;

    /// <summary>The oracle of 16-bit caches: an f32 cache of values that were rounded before, to the last bit.</summary>
    [Theory]
    [InlineData(KvType.F16, 1)]
    [InlineData(KvType.F16, 5)]
    [InlineData(KvType.F16, Block)]
    [InlineData(KvType.F16, Block + 1)]
    [InlineData(KvType.F16, (2 * Block) + 70)]
    [InlineData(KvType.BF16, 1)]
    [InlineData(KvType.BF16, 5)]
    [InlineData(KvType.BF16, Block)]
    [InlineData(KvType.BF16, Block + 1)]
    [InlineData(KvType.BF16, (2 * Block) + 70)]
    public void Attention_has_the_bits_of_f32_over_rounded_values(KvType type, int length)
    {
        using Bench bench = Start(threads: 2);
        foreach ((int heads, int kvHeads, int headSize) in ((int, int, int)[])[(9, 3, 64), (4, 2, 42)])
        {
            float[] k = Bench.Values(length * kvHeads * headSize, 1), v = Bench.Values(length * kvHeads * headSize, 2);
            float[] q = Bench.Values(length * heads * headSize, 3);
            float[] stored = Outputs(bench, type, k, v, q, heads, kvHeads, headSize);
            Compare.SameBits(Outputs(bench, KvType.F32, Rounded(k, type), Rounded(v, type), q, heads, kvHeads, headSize), stored, $"{type}, {length} keys");
        }
    }

    /// <summary>Over several blocks of keys, with scores that rise toward the end, so that every block changes the maximum.</summary>
    [Theory]
    [InlineData(KvType.F32, Block - 1)]
    [InlineData(KvType.F32, Block + 1)]
    [InlineData(KvType.F32, (3 * Block) + 164)]
    [InlineData(KvType.F16, (3 * Block) + 164)]
    [InlineData(KvType.BF16, (3 * Block) + 164)]
    public void Long_contexts_match_f64(KvType type, int n)
    {
        using Bench bench = Start(threads: 2);
        const int heads = 3, kvHeads = 1, headSize = 20;
        KvCache cache = bench.Cache(1, kvHeads, headSize, n, type);
        float[] k = Bench.Values(n * headSize, 1), v = Bench.Values(n * headSize, 2), q = Bench.Values(heads * headSize, 3);
        for (int i = 0; i < n; i++)
        {
            k[i * headSize] = Math.Sign(q[0]) * i * 0.01f;
        }

        bench.Backend.StoreKv(Causal(cache, n), 0, bench.Matrix(n, headSize, k), bench.Matrix(n, headSize, v));
        PassBatch last = new(1, 1);
        last.AddCausal(cache, new TokenId(0), new Position(n - 1), new CacheRow(n - 1));
        Matrix output = bench.Matrix(1, heads * headSize);
        bench.Backend.Attention(last, 0, bench.Matrix(1, heads * headSize, q), output, heads, 0.2f);
        AttentionReference.Check(
            q, Rounded(k, type), Rounded(v, type), [[.. Enumerable.Range(0, n)]], heads, kvHeads, headSize, 0.2f, bench.Read(output), SumRoundings(headSize), $"{type}, {n} keys");
    }

    [Theory]
    [InlineData(KvType.F32)]
    [InlineData(KvType.F16)]
    [InlineData(KvType.BF16)]
    public void Drafters_are_given_what_is_stored(KvType type)
    {
        using Bench bench = Start();
        const int layers = 2, kvHeads = 2, headSize = 42, kv = kvHeads * headSize, rows = 5;
        KvCache cache = bench.Cache(layers, kvHeads, headSize, rows, type);
        float[] k = Bench.Values(rows * kv, 1), v = Bench.Values(rows * kv, 2);
        PassBatch batch = Causal(cache, rows);
        bench.Backend.StoreKv(batch, 1, bench.Matrix(rows, kv, k), bench.Matrix(rows, kv, v));
        bench.Backend.KeepRows(cache, new CacheRow(1), [2, 4]);
        Matrix output = bench.Matrix(3 * layers, 2 * kv);
        bench.Backend.GatherLayers(cache, new CacheRow(0), 3, output);
        float[] gathered = bench.Read(output), roundedK = Rounded(k, type), roundedV = Rounded(v, type);
        int[] kept = [0, 2, 4];
        for (int t = 0; t < kept.Length; t++)
        {
            int at = kept[t] * kv, row = ((t * layers) + 1) * 2 * kv;
            float[] expected = [.. roundedK[at..(at + headSize)], .. roundedV[at..(at + headSize)], .. roundedK[(at + headSize)..(at + kv)], .. roundedV[(at + headSize)..(at + kv)]];
            Compare.SameBits(expected, gathered.AsSpan(row, 2 * kv), $"token {t}");
        }
    }

    /// <summary>A value that half precision cannot hold ends in a number that is none, and leaves rows that do not see it alone.</summary>
    [Fact]
    public void Halves_out_of_range_reach_those_who_see_them_and_no_one_else()
    {
        using Bench bench = Start();
        const int rows = 20, heads = 6, kvHeads = 2, headSize = 20, kv = kvHeads * headSize;
        float[] k = Bench.Values(rows * kv, 1), v = Bench.Values(rows * kv, 2), q = Bench.Values(rows * heads * headSize, 3);
        float[] expected = Outputs(bench, KvType.F16, k, v, q, heads, kvHeads, headSize);
        v.AsSpan(11 * kv, kv).Fill(70_000f);
        float[] actual = Outputs(bench, KvType.F16, k, v, q, heads, kvHeads, headSize);
        Compare.SameBits(expected.AsSpan(0, 11 * heads * headSize), actual.AsSpan(0, 11 * heads * headSize), "rows before");
        Assert.All(actual[(11 * heads * headSize)..], static x => Assert.False(float.IsFinite(x)));
    }

    /// <summary>The same path in rows of a prefix and in rows of a tree, across the ends of blocks.</summary>
    [Theory]
    [InlineData(KvType.F32, Block - 3)]
    [InlineData(KvType.F32, Block)]
    [InlineData(KvType.F16, Block - 4)]
    [InlineData(KvType.F16, (2 * Block) - 1)]
    [InlineData(KvType.BF16, Block - 3)]
    [InlineData(KvType.BF16, Block - 8)]
    public void A_tree_gives_the_bits_of_a_line_across_blocks(KvType type, int prefix)
    {
        using Bench bench = Start(threads: 2);
        const int heads = 6, kvHeads = 2, headSize = 20, depth = 8, kv = kvHeads * headSize;
        int length = prefix + depth;
        float[] k = Bench.Values(length * kv, 1), v = Bench.Values(length * kv, 2), q = Bench.Values(length * heads * headSize, 3);
        float[] line = Outputs(bench, type, k, v, q, heads, kvHeads, headSize);

        // The path's tokens lie at every second row from the end of the cache's prefix on, other values between them.
        KvCache tree = bench.Cache(1, kvHeads, headSize, prefix + (2 * depth), type);
        bench.Backend.StoreKv(Causal(tree, prefix), 0, bench.Matrix(prefix, kv, k[..(prefix * kv)]), bench.Matrix(prefix, kv, v[..(prefix * kv)]));
        PassBatch batch = new(2 * depth, 1);
        int[] rows = [.. Enumerable.Range(0, depth).Select(level => prefix + (2 * level) + 1)];
        float[] treeK = Bench.Values(2 * depth * kv, 4), treeV = Bench.Values(2 * depth * kv, 5), treeQ = Bench.Values(2 * depth * heads * headSize, 6);
        for (int node = 0; node < 2 * depth; node++)
        {
            int level = node / 2, at = prefix + node;
            batch.AddTree(tree, new TokenId(0), new Position(prefix + level), new CacheRow(at), prefix, [.. rows[..level], at]);
            if (node % 2 == 1)
            {
                k.AsSpan((prefix + level) * kv, kv).CopyTo(treeK.AsSpan(node * kv));
                v.AsSpan((prefix + level) * kv, kv).CopyTo(treeV.AsSpan(node * kv));
                q.AsSpan((prefix + level) * heads * headSize, heads * headSize).CopyTo(treeQ.AsSpan(node * heads * headSize));
            }
        }

        Matrix output = bench.Matrix(2 * depth, heads * headSize);
        bench.Backend.StoreKv(batch, 0, bench.Matrix(2 * depth, kv, treeK), bench.Matrix(2 * depth, kv, treeV));
        bench.Backend.Attention(batch, 0, bench.Matrix(2 * depth, heads * headSize, treeQ), output, heads, 0.2f);
        for (int level = 0; level < depth; level++)
        {
            Compare.SameBits(
                line.AsSpan((prefix + level) * heads * headSize, heads * headSize), bench.Read(output.Slice((2 * level) + 1, 1)), $"{type}, depth {level} after {prefix}");
        }
    }

    [Fact]
    public void Caches_of_different_types_do_not_share_a_pass()
    {
        using Bench bench = Start();
        PassBatch batch = new(2, 1);
        batch.AddCausal(bench.Cache(1, 1, 16, 2), new TokenId(0), new Position(0), new CacheRow(0));
        batch.AddCausal(bench.Cache(1, 1, 16, 2, KvType.BF16), new TokenId(0), new Position(0), new CacheRow(0));
        Matrix q = bench.Random(2, 16, 1);
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.Attention(batch, 0, q, q, 1, 1f));
    }

    [Fact]
    public void Bytes_are_those_of_the_type()
    {
        using Bench bench = Start();
        const long elements = 2L * 3 * 2 * 100 * 48;
        Assert.Equal(4 * elements, bench.Backend.KvCacheBytes(3, 2, 42, 100));
        Assert.Equal(2 * elements, bench.Backend.KvCacheBytes(3, 2, 42, 100, KvType.F16));
        Assert.Equal(2 * elements, bench.Backend.KvCacheBytes(3, 2, 42, 100, KvType.BF16));
    }

    /// <summary>Attention of causal rows over a cache of <paramref name="type"/>.</summary>
    private static float[] Outputs(Bench bench, KvType type, float[] k, float[] v, float[] q, int heads, int kvHeads, int headSize)
    {
        int kv = kvHeads * headSize, rows = k.Length / kv;
        KvCache cache = bench.Cache(1, kvHeads, headSize, rows, type);
        PassBatch batch = Causal(cache, rows);
        Matrix output = bench.Matrix(rows, heads * headSize);
        bench.Backend.StoreKv(batch, 0, bench.Matrix(rows, kv, k), bench.Matrix(rows, kv, v));
        bench.Backend.Attention(batch, 0, bench.Matrix(rows, heads * headSize, q), output, heads, 0.2f);
        return bench.Read(output);
    }

    private static PassBatch Causal(KvCache cache, int rows)
    {
        PassBatch batch = new(rows, 1);
        for (int i = 0; i < rows; i++)
        {
            batch.AddCausal(cache, new TokenId(0), new Position(i), new CacheRow(i));
        }

        return batch;
    }

    private static float[] Rounded(float[] values, KvType type) => type switch
    {
        KvType.F16 => [.. values.Select(static x => (float)(Half)x)],
        KvType.BF16 => [.. values.Select(static x => BitConverter.UInt32BitsToSingle((BitConverter.SingleToUInt32Bits(x) + 0x7fff + ((BitConverter.SingleToUInt32Bits(x) >> 16) & 1)) & 0xffff_0000))],
        _ => values,
    };
}

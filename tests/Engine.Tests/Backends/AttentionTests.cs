using LowLevelSpec.Engine.Backends;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Backends;

/// <summary>Attention over caches, inside groups, and over trees.</summary>
public abstract class AttentionTests<TFactory> : BackendTest<TFactory>
    where TFactory : IBackendFactory, new()
{
    [Theory]
    [InlineData(9, 3, 64)]
    [InlineData(4, 4, 16)]
    [InlineData(6, 1, 10)]
    [InlineData(14, 2, 42)]
    [InlineData(5, 5, 80)]
    public void Causal_rows_match_f64(int heads, int kvHeads, int headSize)
    {
        using Bench bench = Start();
        foreach (int n in (int[])[1, 4, 5, 37])
        {
            KvCache cache = bench.Cache(2, kvHeads, headSize, 40);
            float[] k = Bench.Values(n * kvHeads * headSize, 1), v = Bench.Values(n * kvHeads * headSize, 2), q = Bench.Values(n * heads * headSize, 3);
            PassBatch batch = Causal(cache, 0, n);
            Matrix output = bench.Matrix(n, heads * headSize);
            float scale = 1f / MathF.Sqrt(headSize);
            bench.Backend.StoreKv(batch, 1, bench.Matrix(n, kvHeads * headSize, k), bench.Matrix(n, kvHeads * headSize, v));
            bench.Backend.Attention(batch, 1, bench.Matrix(n, heads * headSize, q), output, heads, scale);
            int[][] visible = [.. Enumerable.Range(0, n).Select(static r => Enumerable.Range(0, r + 1).ToArray())];
            AttentionReference.Check(q, Stored(k), Stored(v), visible, heads, kvHeads, headSize, scale, bench.Read(output), SumRoundings(headSize), $"attention of {n} rows");
        }
    }

    [Theory]
    [InlineData(30, 6, 6, 10)]
    [InlineData(30, 6, 2, 42)]
    [InlineData(1, 2, 1, 32)]
    [InlineData(33, 3, 3, 64)]
    public void Groups_match_f64(int groupRows, int heads, int kvHeads, int headSize)
    {
        using Bench bench = Start();
        const int groups = 3;
        int n = groups * groupRows;
        float[] q = Bench.Values(n * heads * headSize, 1), k = Bench.Values(n * kvHeads * headSize, 2), v = Bench.Values(n * kvHeads * headSize, 3);
        Matrix output = bench.Matrix(n, heads * headSize);
        float scale = 1f / MathF.Sqrt(headSize);
        bench.Backend.GroupAttention(
            bench.Matrix(n, heads * headSize, q), bench.Matrix(n, kvHeads * headSize, k), bench.Matrix(n, kvHeads * headSize, v), output, groupRows, heads, kvHeads, scale);
        int[][] visible = [.. Enumerable.Range(0, n).Select(r => Enumerable.Range(r / groupRows * groupRows, groupRows).ToArray())];
        AttentionReference.Check(q, k, v, visible, heads, kvHeads, headSize, scale, bench.Read(output), SumRoundings(headSize), "group attention");
    }

    [Fact]
    public void A_row_that_sees_nothing_gives_zeros()
    {
        using Bench bench = Start();
        KvCache cache = bench.Cache(1, 2, 10, 8);
        PassBatch batch = new(3, 4);
        batch.AddQuery(cache, new TokenId(0), new Position(0), 0);
        batch.AddCausal(cache, new TokenId(0), new Position(0), new CacheRow(0));
        batch.AddQuery(cache, new TokenId(0), new Position(0), 0);
        Matrix output = bench.Random(3, 40, 1), k = bench.Random(3, 20, 2);
        bench.Backend.StoreKv(batch, 0, k, k);
        bench.Backend.Attention(batch, 0, bench.Random(3, 40, 3), output, 4, 0.3f);
        float[] actual = bench.Read(output);
        Assert.All(actual[..40], static x => Assert.Equal(0f, x));
        Assert.All(actual[80..], static x => Assert.Equal(0f, x));

        // One key: its value, exactly.
        float[] values = Stored(bench.Read(k.Slice(1, 1)));
        Compare.SameBits([.. values[..10], .. values[..10], .. values[10..], .. values[10..]], actual.AsSpan(40, 40), "one key");
    }

    [Fact]
    public void What_a_row_does_not_see_has_no_influence()
    {
        using Bench bench = Start();
        const int n = 12, heads = 6, kvHeads = 2, headSize = 20;
        KvCache cache = bench.Cache(1, kvHeads, headSize, 16);
        Matrix k = bench.Random(n, kvHeads * headSize, 1), v = bench.Random(n, kvHeads * headSize, 2), q = bench.Random(n, heads * headSize, 3);
        PassBatch batch = Causal(cache, 0, n);
        Matrix output = bench.Matrix(n, heads * headSize);
        bench.Backend.StoreKv(batch, 0, k, v);
        bench.Backend.Attention(batch, 0, q, output, heads, 0.2f);
        float[] expected = bench.Read(output)[..(5 * heads * headSize)];

        Matrix poison = bench.Matrix(7, kvHeads * headSize, [.. Enumerable.Repeat(float.NaN, 7 * kvHeads * headSize)]);
        bench.Backend.StoreKv(Causal(cache, 5, 7), 0, poison, poison);
        bench.Backend.Attention(batch, 0, q, output, heads, 0.2f);
        Compare.SameBits(expected, bench.Read(output).AsSpan(0, expected.Length), "rows before the poisoned ones");
    }

    [Fact]
    public void Nan_scores_end_in_nan()
    {
        using Bench bench = Start();
        KvCache cache = bench.Cache(1, 1, 16, 20);
        Matrix k = bench.Matrix(20, 16, [.. Enumerable.Repeat(float.NaN, 320)]), output = bench.Matrix(20, 16);
        bench.Backend.StoreKv(Causal(cache, 0, 20), 0, k, k);
        bench.Backend.Attention(Causal(cache, 0, 20), 0, bench.Random(20, 16, 1), output, 1, 1f);
        Assert.All(bench.Read(output), static x => Assert.True(float.IsNaN(x)));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(15)]
    [InlineData(16)]
    [InlineData(19)]
    public void A_tree_gives_the_bits_of_a_line(int prefix)
    {
        using Bench bench = Start(threads: 2);
        const int heads = 6, kvHeads = 2, headSize = 42, depth = 9, kv = kvHeads * headSize;
        int length = prefix + depth;
        float[] k = Bench.Values(length * kv, 1), v = Bench.Values(length * kv, 2), q = Bench.Values(length * heads * headSize, 3);
        KvCache line = bench.Cache(1, kvHeads, headSize, length), tree = bench.Cache(1, kvHeads, headSize, length + 50);
        Matrix lineOut = bench.Matrix(length, heads * headSize);
        bench.Backend.StoreKv(Causal(line, 0, length), 0, bench.Matrix(length, kv, k), bench.Matrix(length, kv, v));
        bench.Backend.Attention(Causal(line, 0, length), 0, bench.Matrix(length, heads * headSize, q), lineOut, heads, 0.15f);
        float[] expected = bench.Read(lineOut);

        if (prefix > 0)
        {
            bench.Backend.StoreKv(Causal(tree, 0, prefix), 0, bench.Matrix(prefix, kv, k[..(prefix * kv)]), bench.Matrix(prefix, kv, v[..(prefix * kv)]));
        }

        // The path's nodes lie at every third row after the prefix, among nodes of other branches.
        PassBatch batch = new(depth * 3, 1);
        List<int> path = [];
        float[] treeK = Bench.Values(depth * 3 * kv, 11), treeV = Bench.Values(depth * 3 * kv, 12), treeQ = Bench.Values(depth * 3 * heads * headSize, 13);
        for (int node = 0; node < depth * 3; node++)
        {
            int at = prefix + node, level = node / 3;
            int[] ancestors = [.. path, at];
            if (node % 3 == 2)
            {
                path.Add(at);
                Copy(k, prefix + level, treeK, node, kv);
                Copy(v, prefix + level, treeV, node, kv);
                Copy(q, prefix + level, treeQ, node, heads * headSize);
            }

            batch.AddTree(tree, new TokenId(0), new Position(prefix + level), new CacheRow(at), prefix, ancestors);
        }

        Matrix treeOut = bench.Matrix(depth * 3, heads * headSize);
        bench.Backend.StoreKv(batch, 0, bench.Matrix(depth * 3, kv, treeK), bench.Matrix(depth * 3, kv, treeV));
        bench.Backend.Attention(batch, 0, bench.Matrix(depth * 3, heads * headSize, treeQ), treeOut, heads, 0.15f);
        for (int level = 0; level < depth; level++)
        {
            Compare.SameBits(
                expected.AsSpan((prefix + level) * heads * headSize, heads * headSize), bench.Read(treeOut.Slice((3 * level) + 2, 1)), $"depth {level} after {prefix}");
        }
    }

    [Fact]
    public void Sequences_in_one_pass_do_not_meet()
    {
        using Bench bench = Start();
        const int heads = 4, kvHeads = 2, headSize = 16;
        int[] lengths = [3, 1, 7];
        PassBatch together = new(16, 1);
        List<float[]> alone = [];
        Matrix k = bench.Random(11, kvHeads * headSize, 1), v = bench.Random(11, kvHeads * headSize, 2), q = bench.Random(11, heads * headSize, 3);
        int first = 0;
        foreach (int length in lengths)
        {
            KvCache cache = bench.Cache(1, kvHeads, headSize, 8 + length), copy = bench.Cache(1, kvHeads, headSize, 8);
            for (int i = 0; i < length; i++)
            {
                together.AddCausal(cache, new TokenId(0), new Position(i), new CacheRow(i));
            }

            Matrix output = bench.Matrix(length, heads * headSize);
            bench.Backend.StoreKv(Causal(copy, 0, length), 0, k.Slice(first, length), v.Slice(first, length));
            bench.Backend.Attention(Causal(copy, 0, length), 0, q.Slice(first, length), output, heads, 0.25f);
            alone.Add(bench.Read(output));
            first += length;
        }

        Matrix all = bench.Matrix(11, heads * headSize);
        bench.Backend.StoreKv(together, 0, k, v);
        bench.Backend.Attention(together, 0, q, all, heads, 0.25f);
        Compare.SameBits([.. alone.SelectMany(static x => x)], bench.Read(all), "three sequences");
    }

    [Fact]
    public void Mismatches_are_refused()
    {
        using Bench bench = Start();
        KvCache cache = bench.Cache(1, 2, 8, 4);
        PassBatch batch = Causal(cache, 0, 2);
        Matrix q = bench.Matrix(2, 32), kv = bench.Matrix(2, 16);
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.Attention(batch, 1, q, q, 4, 1f));
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.Attention(batch, 0, q, q, 3, 1f));
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.Attention(batch, 0, bench.Matrix(1, 32), q, 4, 1f));
        PassBatch outside = new(1, 1);
        outside.AddTree(cache, new TokenId(0), new Position(0), new CacheRow(0), 0, [4]);
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.Attention(outside, 0, q.Slice(0, 1), q.Slice(0, 1), 4, 1f));
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.StoreKv(batch, 1, kv, kv));
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.StoreKv(batch, 0, q, q));
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.GroupAttention(q, kv, kv, q, 3, 4, 2, 1f));
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.GroupAttention(q, q, kv, q, 2, 4, 2, 1f));
    }

    private static PassBatch Causal(KvCache cache, int first, int count)
    {
        PassBatch batch = new(count, 1);
        for (int i = 0; i < count; i++)
        {
            batch.AddCausal(cache, new TokenId(0), new Position(first + i), new CacheRow(first + i));
        }

        return batch;
    }

    private static void Copy(float[] from, int fromRow, float[] to, int toRow, int columns) =>
        from.AsSpan(fromRow * columns, columns).CopyTo(to.AsSpan(toRow * columns));
}

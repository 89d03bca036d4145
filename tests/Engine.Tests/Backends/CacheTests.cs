using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Backends;

/// <summary>KV caches, buffers, and what becomes of them.</summary>
public abstract class CacheTests<TFactory> : BackendTest<TFactory>
    where TFactory : IBackendFactory, new()
{
    private const int Layers = 3, KvHeads = 2, HeadSize = 10, Kv = KvHeads * HeadSize;

    [Fact]
    public void Stored_rows_are_gathered_by_layer_and_head()
    {
        using Bench bench = Start();
        KvCache cache = Filled(bench, 7, out float[][] keys, out float[][] values);
        Matrix output = bench.Matrix(4 * Layers, 2 * Kv);
        bench.Backend.GatherLayers(cache, new CacheRow(2), 4, output);
        Compare.SameBits(Expected([2, 3, 4, 5], keys, values), bench.Read(output), "gathered");
    }

    [Fact]
    public void Kept_rows_move_into_place()
    {
        using Bench bench = Start();
        KvCache cache = Filled(bench, 9, out float[][] keys, out float[][] values);
        cache.Length = 3;
        bench.Backend.KeepRows(cache, new CacheRow(3), [3, 5, 8]);
        Assert.Equal(6, cache.Length);
        Matrix output = bench.Matrix(6 * Layers, 2 * Kv);
        bench.Backend.GatherLayers(cache, new CacheRow(0), 6, output);
        Compare.SameBits(Expected([0, 1, 2, 3, 5, 8], keys, values), bench.Read(output), "kept");

        bench.Backend.KeepRows(cache, new CacheRow(4), []);
        Assert.Equal(4, cache.Length);
    }

    [Fact]
    public void Rows_that_only_query_store_nothing()
    {
        using Bench bench = Start();
        KvCache cache = bench.Cache(1, KvHeads, HeadSize, 4);
        PassBatch batch = new(1, 1);
        batch.AddQuery(cache, new TokenId(1), new Position(0), 0);
        Matrix row = bench.Random(1, Kv, 1), output = bench.Matrix(4, 2 * Kv);
        bench.Backend.StoreKv(batch, 0, row, row);
        bench.Backend.GatherLayers(cache, new CacheRow(0), 4, output);
        Assert.All(bench.Read(output), static x => Assert.Equal(0f, x));
    }

    [Fact]
    public void Rows_out_of_order_or_out_of_reach_are_refused()
    {
        using Bench bench = Start();
        KvCache cache = bench.Cache(Layers, KvHeads, HeadSize, 8);
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.KeepRows(cache, new CacheRow(3), [2]));
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.KeepRows(cache, new CacheRow(3), [4, 4]));
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.KeepRows(cache, new CacheRow(3), [4, 8]));
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.GatherLayers(cache, new CacheRow(6), 3, bench.Matrix(3 * Layers, 2 * Kv)));
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.GatherLayers(cache, new CacheRow(0), 3, bench.Matrix(3 * Layers, Kv)));
    }

    [Fact]
    public void New_buffers_hold_zeros()
    {
        using Bench bench = Start();
        Assert.All(bench.Read(bench.Matrix(7, 31)), static x => Assert.Equal(0f, x));
        using TensorBuffer empty = bench.Backend.Allocate(0, "nothing");
        Assert.Equal(0, empty.Length);
    }

    [Fact]
    public void Memory_that_is_not_there_is_named()
    {
        using Bench bench = Start();
        InputException failure = Assert.Throws<InputException>(() => bench.Backend.Allocate(long.MaxValue / 5, "the logits"));
        Assert.Contains("the logits", failure.Message, StringComparison.Ordinal);
        failure = Assert.Throws<InputException>(() => bench.Backend.Allocate(1L << 55, "the logits"));
        Assert.Contains("the logits", failure.Message, StringComparison.Ordinal);
        failure = Assert.Throws<InputException>(() => bench.Backend.AllocateKvCache(int.MaxValue, int.MaxValue, 128, int.MaxValue));
        Assert.Contains("key/value cache", failure.Message, StringComparison.Ordinal);
        failure = Assert.Throws<InputException>(() => bench.Backend.AllocateKvCache(1 << 20, 1 << 10, 128, 1 << 20));
        Assert.Contains("key/value cache", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Disposing_twice_or_out_of_order_is_harmless()
    {
        using Bench bench = Start(threads: 2);
        TensorBuffer buffer = bench.Backend.Allocate(10, "test");
        KvCache cache = bench.Backend.AllocateKvCache(1, 1, 8, 8);
        buffer.Dispose();
        buffer.Dispose();
        Assert.Throws<ObjectDisposedException>(() => bench.Backend.Write(new float[10], new Matrix(buffer, 0, 1, 10, 10)));
        bench.Backend.Dispose();
        bench.Backend.Dispose();
        cache.Dispose();
        cache.Dispose();
        Assert.Throws<ObjectDisposedException>(() => bench.Backend.KeepRows(cache, new CacheRow(0), [1]));
    }

    [Fact]
    public void A_disposed_backend_refuses_work()
    {
        using Bench bench = Start(threads: 2);
        (Weight weight, _) = bench.Weight(TensorType.F32, 8, 16, 1);
        Matrix x = bench.Matrix(2, 16), y = bench.Matrix(2, 8);
        bench.Backend.Dispose();
        Assert.Throws<ObjectDisposedException>(() => bench.Backend.MatMul(weight, x, y));
    }

    [Fact]
    public void What_is_no_weight_is_refused()
    {
        using Bench bench = Start();
        Assert.Throws<InputException>(() => bench.Load(TensorType.I64, new byte[80], [2, 5]));
        Assert.Throws<InputException>(() => bench.Load(TensorType.Q8_0, new byte[34], [2, 16]));
        Assert.Throws<InputException>(() => bench.Load(TensorType.F32, new byte[120], [6, 5], interleavedHeads: 2));
    }

    private static KvCache Filled(Bench bench, int rows, out float[][] keys, out float[][] values)
    {
        KvCache cache = bench.Cache(Layers, KvHeads, HeadSize, 12);
        PassBatch batch = new(rows, 1);
        for (int i = 0; i < rows; i++)
        {
            batch.AddCausal(cache, new TokenId(i), new Position(i), new CacheRow(i));
        }

        keys = [.. Enumerable.Range(0, Layers).Select(l => Bench.Values(rows * Kv, 100 + l))];
        values = [.. Enumerable.Range(0, Layers).Select(l => Bench.Values(rows * Kv, 200 + l))];
        for (int layer = 0; layer < Layers; layer++)
        {
            bench.Backend.StoreKv(batch, layer, bench.Matrix(rows, Kv, keys[layer]), bench.Matrix(rows, Kv, values[layer]));
        }

        return cache;
    }

    private static float[] Expected(int[] rows, float[][] keys, float[][] values)
    {
        List<float> expected = [];
        foreach (int row in rows)
        {
            for (int layer = 0; layer < Layers; layer++)
            {
                for (int head = 0; head < KvHeads; head++)
                {
                    int at = (row * Kv) + (head * HeadSize);
                    expected.AddRange(keys[layer][at..(at + HeadSize)]);
                    expected.AddRange(values[layer][at..(at + HeadSize)]);
                }
            }
        }

        return Stored([.. expected]);
    }
}

using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Backends.Cpu;
using LowLevelSpec.Interop.Cpu;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Backends;

/// <summary>What only the CPU backend has: exp, threads, widths, and steps without allocations.</summary>
[Collection(nameof(Alone))]
public sealed class CpuBackendTests
{
    [Fact]
    public unsafe void Exp_is_within_two_units_in_the_last_place()
    {
        float* lanes = stackalloc float[16];
        double worst = 0;
        for (int step = 0; step < 40_000; step++)
        {
            for (int i = 0; i < 16; i++)
            {
                lanes[i] = -104.5f + (193.2f * (((step * 16) + i) / 640_000f));
            }

            float[] x = new Span<float>(lanes, 16).ToArray();
            Simd16Of128.Store(SimdMath.Exp(Simd16Of128.Load(lanes)), lanes);
            for (int i = 0; i < 16; i++)
            {
                double exact = Math.Exp(x[i]);
                double unit = Math.Max(BitConverter.Int32BitsToSingle(BitConverter.SingleToInt32Bits((float)Math.Min(exact, 1e38)) & 0x7f800000) * Math.Pow(2, -23), Math.Pow(2, -149));
                worst = Math.Max(worst, Math.Abs(lanes[i] - exact) / unit);
            }
        }

        Assert.True(worst <= 2, $"worst error {worst} units");
    }

    [Theory]
    [InlineData(float.NegativeInfinity, 0f)]
    [InlineData(float.MinValue, 0f)]
    [InlineData(-104f, 0f)]
    [InlineData(0f, 1f)]
    [InlineData(float.Epsilon, 1f)]
    [InlineData(89f, float.PositiveInfinity)]
    [InlineData(float.MaxValue, float.PositiveInfinity)]
    [InlineData(float.PositiveInfinity, float.PositiveInfinity)]
    [InlineData(float.NaN, float.NaN)]
    public unsafe void Exp_at_the_ends(float x, float expected)
    {
        float* lanes = stackalloc float[16];
        Simd16Scalar.Store(SimdMath.Exp(Simd16Scalar.Broadcast(x)), lanes);
        Assert.Equal(expected, lanes[7]);
        if (CpuBackend.IsSupported(SimdWidth.Bits512))
        {
            Simd16Of512.Store(SimdMath.Exp(Simd16Of512.Broadcast(x)), lanes);
            Assert.Equal(expected, lanes[7]);
        }
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(257)]
    public void Thread_counts_out_of_range_are_refused(int threads) => Assert.Throws<InputException>(() => new CpuBackend(threads, SimdWidth.Auto).Dispose());

    [Fact]
    public void Unknown_widths_are_refused() => Assert.Throws<InputException>(() => new CpuBackend(1, (SimdWidth)1024).Dispose());

    [Fact]
    public void Its_name_says_what_runs()
    {
        using CpuBackend scalar = new(1, SimdWidth.Scalar), auto = new(0, SimdWidth.Auto);
        Assert.Equal("cpu scalar, 1 thread", scalar.Name);
        Assert.Contains($"{Environment.ProcessorCount} thread", auto.Name, StringComparison.Ordinal);
    }

    [Fact]
    public unsafe void A_team_does_every_item_once_and_survives_failures()
    {
        using ThreadTeam team = new(3);
        int* counts = stackalloc int[100];
        for (int round = 0; round < 2000; round++)
        {
            int items = round % 100;
            new Span<int>(counts, 100).Clear();
            lock (team.Gate)
            {
                team.Run(&Count, counts, items);
            }

            for (int i = 0; i < 100; i++)
            {
                Assert.Equal(i < items ? 1 : 0, counts[i]);
            }

            if (round % 500 == 499)
            {
                Thread.Sleep(5);
                Assert.Throws<InvalidOperationException>(() => Fail(team));
            }
        }
    }

    /// <summary>As many workers are pinned as there are cores beside the caller's, the caller never, and nobody where it was not asked for.</summary>
    [Fact]
    public unsafe void Pinned_workers_have_a_core_each()
    {
        int[] before = ThreadAffinity.Allowed();
        Assert.SkipWhen(before.Length == 0, "this system does not say which cores a thread may use");
        using ThreadTeam pinned = new(before.Length + 2, pin: true), free = new(2);
        Assert.True(SpinWait.SpinUntil(() => pinned.Pinned.Count(static p => p) == before.Length - 1, TimeSpan.FromSeconds(30)));
        Assert.Equal([false, .. Enumerable.Repeat(true, before.Length - 1), false, false], pinned.Pinned);
        Assert.Equal(before, ThreadAffinity.Allowed());
        Assert.Equal([false, false], free.Pinned);
        int* counts = stackalloc int[100];
        new Span<int>(counts, 100).Clear();
        lock (pinned.Gate)
        {
            pinned.Run(&Count, counts, 100);
        }

        Assert.All(new Span<int>(counts, 100).ToArray(), static c => Assert.Equal(1, c));

        int[] seen = [];
        Thread thread = new(() => seen = ThreadAffinity.PinCurrentThread(before[^1]) ? ThreadAffinity.Allowed() : []);
        thread.Start();
        thread.Join();
        Assert.Equal(OperatingSystem.IsLinux() ? [before[^1]] : seen, seen);
    }

    [Fact]
    public void Idle_workers_sleep()
    {
        using CpuBackend backend = new(4, SimdWidth.Auto);
        Thread.Sleep(50);
        using System.Diagnostics.Process process = System.Diagnostics.Process.GetCurrentProcess();
        TimeSpan best = TimeSpan.MaxValue;
        for (int attempt = 0; attempt < 10; attempt++)
        {
            process.Refresh();
            TimeSpan before = process.TotalProcessorTime;
            Thread.Sleep(100);
            process.Refresh();
            TimeSpan used = process.TotalProcessorTime - before;
            best = used < best ? used : best;
        }

        // Three spinning workers would take 200 ms or more on two cores; the test runner itself needs a little.
        Assert.True(best < TimeSpan.FromMilliseconds(50), $"{best.TotalMilliseconds} ms of processor time in 100 ms");
    }

    [Fact]
    public void Operations_allocate_nothing_in_the_steady_state()
    {
        using Bench bench = new(new CpuBackend(2, SimdWidth.Auto));
        IBackend backend = bench.Backend;
        const int n = 9, heads = 6, kvHeads = 2, headSize = 42, columns = heads * headSize, kv = kvHeads * headSize, layers = 2, vocabulary = 9000;
        KvCache cache = bench.Cache(layers, kvHeads, headSize, 700);
        PassBatch batch = new(n, 1), context = new(600, 1);
        for (int i = 0; i < 600; i++)
        {
            context.AddCausal(cache, new TokenId(0), new Position(i), new CacheRow(i));
        }

        KvCache halves = bench.Cache(layers, kvHeads, headSize, 700, KvType.F16), longer = bench.Cache(1, kvHeads, headSize, 4000);
        PassBatch oneRow = new(1, 1), halfRows = new(n, 1);
        oneRow.AddCausal(longer, new TokenId(0), new Position(3999), new CacheRow(3999));
        for (int i = 0; i < n; i++)
        {
            halfRows.AddCausal(halves, new TokenId(0), new Position(600 + i), new CacheRow(600 + i));
        }

        Matrix x = bench.Random(n, columns, 1), y = bench.Matrix(n, columns), k = bench.Random(n, kv, 2), logits = bench.Matrix(n, vocabulary);
        Matrix gathered = bench.Matrix(4 * layers, 2 * kv), mean = bench.Matrix(4, 2 * kv), contextKv = bench.Random(600, kv, 3), wide = bench.Matrix(4 * layers, kv);
        Weight gain = bench.Vector(Bench.Values(columns, 4));
        (Weight square, _) = bench.Weight(TensorType.F16, columns, columns, 5);
        (Weight head, _) = bench.Weight(TensorType.F32, vocabulary, columns, 6);
        RopeTable rope = new(headSize, 10000f, null);
        int[] tokens = new int[n * 4], rows = new int[n], keep = [601, 603];
        float[] values = new float[n * 4], host = new float[n * columns];
        backend.StoreKv(context, 0, contextKv, contextKv);

        (string Name, Action Run)[] operations =
        [
            ("batch", () =>
            {
                batch.Clear();
                for (int i = 0; i < n; i++)
                {
                    batch.AddTree(cache, new TokenId(i), new Position(600 + i), new CacheRow(600 + i), 600, [600 + i]);
                }
            }),
            ("Embed", () => backend.Embed(head, batch.Tokens, y)),
            ("RmsNorm", () => backend.RmsNorm(x, gain, 1e-5f, y)),
            ("MatMul", () => backend.MatMul(square, y, x, gain, accumulate: true)),
            ("MatMul of a row", () => backend.MatMul(square, y.Slice(0, 1), x.Slice(0, 1))),
            ("Rope", () => backend.Rope(y, heads, rope, batch.Positions)),
            ("StoreKv", () => backend.StoreKv(batch, 0, k, k)),
            ("Attention", () => backend.Attention(batch, 0, y, x, heads, 0.1f)),
            ("Attention split over threads", () => backend.Attention(oneRow, 0, y.Slice(0, 1), x.Slice(0, 1), heads, 0.1f)),
            ("StoreKv as f16", () => backend.StoreKv(halfRows, 0, k, k)),
            ("Attention over f16", () => backend.Attention(halfRows, 0, y, x, heads, 0.1f)),
            ("GatherLayers of f16", () => backend.GatherLayers(halves, new CacheRow(0), 4, gathered)),
            ("GatherLayers", () => backend.GatherLayers(cache, new CacheRow(0), 4, gathered)),
            ("GroupAttention", () => backend.GroupAttention(gathered, wide, wide, gathered, layers, 4, 2, 0.1f)),
            ("GroupMean", () => backend.GroupMean(gathered, layers, mean)),
            ("SwiGlu", () => backend.SwiGlu(x, y, y)),
            ("CopyRows", () => backend.CopyRows(x, rows, y)),
            ("MatMul by the head", () => backend.MatMul(head, y, logits)),
            ("MatMul of a row by the head", () => backend.MatMul(head, y.Slice(0, 1), logits.Slice(0, 1))),
            ("TopLogProbabilities", () => backend.TopLogProbabilities(logits, 4, tokens, values)),
            ("ArgMax", () => backend.ArgMax(logits, tokens.AsSpan(0, n))),
            ("KeepRows", () => backend.KeepRows(cache, new CacheRow(600), keep)),
            ("Read", () => backend.Read(y, host)),
            ("Write", () => backend.Write(host, y)),
        ];
        for (int i = 0; i < 60; i++)
        {
            foreach ((_, Action run) in operations)
            {
                run();
            }
        }

        foreach ((string name, Action run) in operations)
        {
            // The runner's own threads allocate now and then: one quiet stretch shows that the operation does not.
            long leastOfAll = long.MaxValue, leastOwn = long.MaxValue;
            for (int attempt = 0; attempt < 20 && leastOfAll != 0; attempt++)
            {
                long all = GC.GetTotalAllocatedBytes(precise: true), own = GC.GetAllocatedBytesForCurrentThread();
                run();
                run();
                leastOwn = Math.Min(leastOwn, GC.GetAllocatedBytesForCurrentThread() - own);
                leastOfAll = Math.Min(leastOfAll, GC.GetTotalAllocatedBytes(precise: true) - all);
            }

            Assert.True(leastOwn == 0 && leastOfAll == 0, $"{name} allocates {leastOwn} bytes, all threads {leastOfAll}");
        }
    }

    /// <summary>The short exponential of a softmax is the other one where both have a normal result, and zero below.</summary>
    [Fact]
    public unsafe void Exp_of_negative_numbers_has_the_bits_of_exp()
    {
        float* lanes = stackalloc float[16];
        for (int step = 0; step < 20_000; step++)
        {
            float x = step * -0.005f;
            Simd16Of128.Store(SimdMath.ExpOfNegative(Simd16Of128.Broadcast(x)), lanes);
            float actual = lanes[5];
            Simd16Of128.Store(SimdMath.Exp(Simd16Of128.Broadcast(x)), lanes);
            Assert.Equal(x > -87.6f ? lanes[5] : x < -87.7f ? 0f : actual, actual);
        }

        foreach ((float x, float expected) in ((float, float)[])[(0f, 1f), (-0f, 1f), (float.MinValue, 0f), (float.NegativeInfinity, 0f), (float.NaN, float.NaN)])
        {
            Simd16Scalar.Store(SimdMath.ExpOfNegative(Simd16Scalar.Broadcast(x)), lanes);
            Assert.Equal(expected, lanes[3]);
        }
    }

    [Fact]
    public void Costs_are_bytes_and_flops_of_the_shapes()
    {
        OperationCost cost = OperationCosts.MatMul(TensorType.Q8_0, 2, 64, 10);
        Assert.Equal((64 / 32 * 34 * 10) + (4 * 2 * (64 + 10)), cost.Bytes);
        Assert.Equal(2 * 2 * 64 * 10, cost.Flops);
    }

    private static unsafe void Count(void* job, int thread, int item) => Interlocked.Increment(ref ((int*)job)[item]);

    private static unsafe void Fail(ThreadTeam team)
    {
        lock (team.Gate)
        {
            team.Run(&Throw, null, 10);
        }

        static void Throw(void* job, int thread, int item) => throw new InvalidDataException("item");
    }

    /// <summary>These tests measure the process, so nothing runs beside them.</summary>
    [CollectionDefinition(nameof(Alone), DisableParallelization = true)]
    public sealed class Alone;

    /// <summary>What a drafter's weights are repacked to is freed with the drafter; memory of the backend's own would grow with each that is opened.</summary>
    [Fact]
    public void Collected_weights_are_not_repacked_into_the_backends_memory()
    {
        using CpuBackend backend = new(1, SimdWidth.Auto, Arithmetic.Auto);
        using Bench bench = new(backend);
        float[] values = Bench.Values(64 * 70, 1);
        Weight? weight = null;
        using IDisposable group = backend.CollectWeights(() => weight = bench.LoadDraft(values, [64, 70]));
        Assert.Equal(0, backend.RepackedBytes);
        Matrix output = bench.Matrix(2, 64);
        backend.MatMul(weight!, bench.Random(2, 70, 2), output);
        Assert.Equal(0, backend.RepackedBytes);
        _ = bench.LoadDraft(values, [64, 70]);
        Assert.True(backend.RepackedBytes > 0);
    }
}

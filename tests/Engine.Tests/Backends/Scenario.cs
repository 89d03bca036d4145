using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Backends.Cpu;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Tests.Backends;

/// <summary>One operation with fixed inputs of <see cref="MostRows"/> rows that can be run on any leading number of rows.</summary>
/// <param name="Name">For messages.</param>
/// <param name="Run">Runs rows first..first+count-1 and returns their results, row-major.</param>
internal sealed record Scenario(string Name, Func<int, int, float[]> Run)
{
    public const int MostRows = 64;

    /// <summary>Every operation that has rows, on a backend. Sizes: with <paramref name="large"/> enough work for several threads.</summary>
    public static List<Scenario> All(Bench bench, bool large)
    {
        List<Scenario> all = [];
        foreach (TensorType type in StoredRows.Types)
        {
            int block = type.BlockElements();
            foreach (int columns in block == 1 ? (int[])[96, 42, 378] : block == 32 ? [96] : [512])
            {
                int outputs = large ? 700 : 37;
                all.Add(MatMul(bench, type, columns, outputs, heads: 0));
            }
        }

        all.Add(MatMul(bench, TensorType.F32, 1000, 3, heads: 0));
        all.Add(MatMul(bench, TensorType.Q8_0, 64, large ? 640 : 40, heads: 4));
        all.Add(Rows(bench, "RmsNorm", large ? 4200 : 42, 1, static (b, x, y) => b.Backend.RmsNorm(x[0], b.Vector(Bench.Values(x[0].Columns, 9)), 1e-5f, y)));
        all.Add(Rows(bench, "SwiGlu", large ? 4200 : 42, 2, static (b, x, y) => b.Backend.SwiGlu(x[0], x[1], y)));
        all.Add(Rope(bench, large ? 40 : 3));
        all.Add(Attention(bench, 6, 2, 42, large ? 150 : 20));
        all.Add(Attention(bench, 3, 3, 64, large ? 300 : 20));
        if (bench.Backend is CpuBackend)
        {
            // The rows' paths pass the end of a block of keys, here in the prefix, there among the ancestors; large ones are split over threads.
            foreach (KvType type in (KvType[])[KvType.F32, KvType.F16, KvType.BF16])
            {
                all.Add(Attention(bench, large ? 3 : 6, large ? 3 : 2, large ? 64 : 42, large ? (4 * AttentionJob.KeyBlock) - 30 : AttentionJob.KeyBlock - 20, type));
            }
        }

        all.Add(Groups(bench, large ? 30 : 5));
        all.Add(Selection(bench, large ? 5000 : 100));
        return all;
    }

    private static Scenario MatMul(Bench bench, TensorType type, int columns, int outputs, int heads)
    {
        (Weight weight, _) = bench.Weight(type, outputs, columns, 17, heads);
        Weight bias = bench.Vector(Bench.Values(outputs, 18));
        Matrix x = bench.Random(MostRows, columns, 19), before = bench.Random(MostRows, outputs, 20), y = bench.Matrix(MostRows, outputs);
        int[] order = [.. Enumerable.Range(0, MostRows)];
        return new Scenario($"MatMul {type} [{outputs}, {columns}]", (first, count) =>
        {
            bench.Backend.CopyRows(before, order, y);
            bench.Backend.MatMul(weight, x.Slice(first, count), y.Slice(first, count), bias, accumulate: true);
            return bench.Read(y.Slice(first, count));
        });
    }

    private static Scenario Rows(Bench bench, string name, int columns, int inputs, Action<Bench, Matrix[], Matrix> run)
    {
        Matrix[] x = [.. Enumerable.Range(0, inputs).Select(i => bench.Random(MostRows, columns, 30 + i))];
        Matrix y = bench.Matrix(MostRows, columns);
        return new Scenario(name, (first, count) =>
        {
            run(bench, [.. x.Select(m => m.Slice(first, count))], y.Slice(first, count));
            return bench.Read(y.Slice(first, count));
        });
    }

    private static Scenario Rope(Bench bench, int heads)
    {
        const int headSize = 42;
        Matrix x = bench.Random(MostRows, heads * headSize, 40), y = bench.Matrix(MostRows, heads * headSize);
        RopeTable table = new(headSize, 10000f, null);
        int[] rows = [.. Enumerable.Range(0, MostRows)], positions = [.. rows.Select(static r => 7 * r % 50)];
        return new Scenario("Rope", (first, count) =>
        {
            bench.Backend.CopyRows(x, rows, y);
            bench.Backend.Rope(y.Slice(first, count), heads, table, positions.AsSpan(first, count));
            return bench.Read(y.Slice(first, count));
        });
    }

    private static Scenario Attention(Bench bench, int heads, int kvHeads, int headSize, int context, KvType type = KvType.F32)
    {
        KvCache cache = bench.Cache(1, kvHeads, headSize, context + MostRows, type);
        Matrix k = bench.Random(context + MostRows, kvHeads * headSize, 50), v = bench.Random(context + MostRows, kvHeads * headSize, 51);
        Matrix q = bench.Random(MostRows, heads * headSize, 52), y = bench.Matrix(MostRows, heads * headSize);
        bench.Backend.StoreKv(Batch(0, context + MostRows), 0, k, v);
        return new Scenario($"Attention {heads}/{kvHeads} x {headSize}, context {context}, {type}", (first, count) =>
        {
            // Causal rows with trees among them: every third row sees its predecessors through a list.
            PassBatch batch = new(count, 1);
            for (int i = first; i < first + count; i++)
            {
                int at = context + i, prefix = i % 3 == 1 ? context - (i % 5) : at + 1;
                batch.AddTree(cache, new TokenId(0), new Position(at), new CacheRow(at), prefix, [.. Enumerable.Range(prefix, at + 1 - prefix)]);
            }

            bench.Backend.Attention(batch, 0, q.Slice(first, count), y.Slice(first, count), heads, 0.2f);
            return bench.Read(y.Slice(first, count));
        });

        PassBatch Batch(int first, int count)
        {
            PassBatch batch = new(count, 1);
            for (int i = first; i < first + count; i++)
            {
                batch.AddCausal(cache, new TokenId(0), new Position(i), new CacheRow(i));
            }

            return batch;
        }
    }

    private static Scenario Groups(Bench bench, int length)
    {
        const int heads = 6, kvHeads = 3, headSize = 10;
        Matrix q = bench.Random(MostRows * length, heads * headSize, 60), k = bench.Random(MostRows * length, kvHeads * headSize, 61);
        Matrix v = bench.Random(MostRows * length, kvHeads * headSize, 62), y = bench.Matrix(MostRows * length, heads * headSize), mean = bench.Matrix(MostRows, heads * headSize);
        return new Scenario("GroupAttention and GroupMean", (first, count) =>
        {
            Matrix part = y.Slice(first * length, count * length);
            bench.Backend.GroupAttention(
                q.Slice(first * length, count * length), k.Slice(first * length, count * length), v.Slice(first * length, count * length), part, length, heads, kvHeads, 0.3f);
            bench.Backend.GroupMean(part, length, mean.Slice(first, count));
            return [.. bench.Read(part), .. bench.Read(mean.Slice(first, count))];
        });
    }

    private static Scenario Selection(Bench bench, int vocabulary)
    {
        Matrix logits = bench.Random(MostRows, vocabulary, 70, 3f);
        return new Scenario("TopLogProbabilities and ArgMax", (first, count) =>
        {
            const int top = 4;
            int[] tokens = new int[count * top], best = new int[count];
            float[] values = new float[count * top];
            bench.Backend.TopLogProbabilities(logits.Slice(first, count), top, tokens, values);
            bench.Backend.ArgMax(logits.Slice(first, count), best);
            return [.. values, .. tokens.Select(static t => (float)t), .. best.Select(static t => (float)t)];
        });
    }
}

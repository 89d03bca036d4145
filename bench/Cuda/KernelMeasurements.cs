using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Backends.Cuda;
using LowLevelSpec.Interop.Cuda;
using LowLevelSpec.Models;

namespace LowLevelSpec.CudaBench;

/// <summary>Single operations at the model's sizes: microseconds, bytes per second, share of the copy bandwidth.</summary>
internal static class KernelMeasurements
{
    private static readonly int[] Rows = [1, 8, 64];

    public static void Run(CudaBackend backend, RandomModel model, double bandwidth, ResultTable table)
    {
        LlamaConfig c = model.Config;
        using Cublas? cublas = backend.OpenCublas();
        foreach ((string name, int outputs, int inputs) in ((string, int, int)[])
        [
            ("q or o", c.Heads * c.HeadSize, c.HiddenSize), ("k or v", c.KvHeads * c.HeadSize, c.HiddenSize), ("gate or up", c.IntermediateSize, c.HiddenSize),
            ("down", c.HiddenSize, c.IntermediateSize), ("LM head", c.VocabularySize, c.HiddenSize),
        ])
        {
            // Several copies of the weight in turn, more than a cache holds: each call reads it from memory, as a pass does.
            long bytes = sizeof(ushort) * (long)outputs * inputs;
            int copies = model.IsTiny ? 1 : (int)Math.Clamp((256L << 20) / bytes, 1, 32);
            List<Weight> weights = [];
            using IDisposable owner = backend.CollectWeights(() => weights.AddRange(Enumerable.Range(0, copies).Select(_ => backend.LoadWeight(model.Matrix(name, outputs, inputs)))));
            foreach (int rows in Rows)
            {
                using TensorBuffer x = backend.Allocate((long)rows * inputs, "input"), y = backend.Allocate((long)rows * outputs, "output");
                int at = 0;
                Timing.Result time = Timing.Median(
                    backend, () => backend.MatMul(weights[at++ % copies], new Matrix(x, 0, rows, inputs, inputs), new Matrix(y, 0, rows, outputs, outputs)), model.IsTiny);
                Report(table, $"matmul {name} [{outputs}, {inputs}], {rows} rows", time, bytes + (4L * rows * (inputs + outputs)), bandwidth);
                if (cublas is not null)
                {
                    time = Timing.Median(backend, () => backend.Multiply(cublas, weights[at++ % copies], x, y, rows), model.IsTiny);
                    Report(table, $"the same by cuBLAS (bf16 inputs), {rows} rows", time, bytes + (rows * ((2L * inputs) + (4L * outputs))), bandwidth);
                }
            }
        }

        foreach (int context in model.IsTiny ? (int[])[40] : [1024, 4096])
        {
            foreach (int rows in (int[])[1, 64])
            {
                Attention(backend, model, context, rows, bandwidth, table);
            }
        }
    }

    private static void Attention(CudaBackend backend, RandomModel model, int context, int rows, double bandwidth, ResultTable table)
    {
        LlamaConfig c = model.Config;

        // A layer after the other, as in a pass: the keys of all layers do not fit a cache.
        int layers = model.IsTiny ? 1 : c.Layers;
        using KvCache cache = backend.AllocateKvCache(layers, c.KvHeads, c.HeadSize, context + rows);
        PassBatch batch = new(rows, rows);
        for (int i = 0; i < rows; i++)
        {
            batch.AddTree(cache, new TokenId(0), new Position(context), new CacheRow(context + i), context, [context + i]);
        }

        int size = c.Heads * c.HeadSize;
        using TensorBuffer q = backend.Allocate((long)rows * size, "queries"), y = backend.Allocate((long)rows * size, "output");
        int layer = 0;
        Timing.Result time = Timing.Median(
            backend, () => backend.Attention(batch, layer++ % layers, new Matrix(q, 0, rows, size, size), new Matrix(y, 0, rows, size, size), c.Heads, 0.1f), model.IsTiny);
        Report(table, $"tree attention, {context} keys, {rows} rows", time, 4L * (context + rows) * c.KvHeads * c.HeadSize, bandwidth);
    }

    private static void Report(ResultTable table, string what, Timing.Result time, long bytes, double bandwidth) =>
        table.Add(what, $"{time.Seconds * 1e6:0.0} us, {bytes / time.Seconds / 1e9:0.0} GB/s, {bytes / time.Seconds / bandwidth:0.0%} of copy");
}

using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Backends.Cuda;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Target;

namespace LowLevelSpec.CudaBench;

/// <summary>A prompt's passes on the engine's own kernels and by cuBLAS.</summary>
internal static class PrefillMeasurements
{
    public static void Run(CudaBackend backend, RandomModel model, ResultTable table)
    {
        LlamaModel target = new(backend, model.Target);
        int rows = model.IsTiny ? 8 : Generation.ChunkRows, passes = model.IsTiny ? 2 : 8;
        using KvCache cache = target.CreateCache(rows * passes);
        using TargetPass pass = new(backend, target, rows, 1);
        PassBatch batch = new(rows, 1);
        double kernels = Timing.Median(backend, Prompt, model.IsTiny).Seconds;
        table.Add($"prompt of {rows * passes} tokens, own kernels", Row(kernels));
        if (!backend.HasCublas)
        {
            table.Add($"prompt of {rows * passes} tokens, cuBLAS", "not measured: cuBLAS is not installed");
            return;
        }

        double cublas = Timing.Median(backend, () => backend.Prefill(Prompt), model.IsTiny).Seconds;
        table.Add($"prompt of {rows * passes} tokens, cuBLAS", $"{Row(cublas)}; {kernels / cublas:0.00} times as fast as the kernels");

        void Prompt()
        {
            for (int p = 0; p < passes; p++)
            {
                batch.Clear();
                for (int i = p * rows; i < (p + 1) * rows; i++)
                {
                    batch.AddCausal(cache, new TokenId(i % target.Config.VocabularySize), new Position(i), new CacheRow(i));
                }

                pass.Forward(batch);
            }
        }

        string Row(double seconds) => $"{seconds * 1e3:0.000} ms, {rows * passes / seconds:0} tokens/s, passes of {rows}";
    }
}

using System.Diagnostics;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Backends.Cuda;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Target;

namespace LowLevelSpec.CudaBench;

/// <summary>Plain decoding, verification and whole cycles.</summary>
internal static class CycleMeasurements
{
    // The paper's acceptance length on Llama-3-8B (table 1): what the projection assumes.
    private const double PaperTau = 4.22;

    // A quarter of Llama-3's vocabulary: what published trimmed draft heads keep.
    private const int TrimmedVocabulary = 32768;

    public static void Run(CudaBackend backend, RandomModel model, double bandwidth, ResultTable table)
    {
        LlamaModel target = new(backend, model.Target);
        int prompt = model.IsTiny ? 5 : 512, steps = model.IsTiny ? 3 : 60;
        TreeSettings tree = model.IsTiny ? new TreeSettings(6, 2, 10) : new TreeSettings(7, 8, 62);

        Steps plain = Measure(backend, target, new NoDrafter(), null, prompt, steps);
        table.Add("plain decoding", $"{plain.Wall * 1e3:0.000} ms a token, {1 / plain.Wall:0.0} tokens/s");
        table.Add("plain decoding, share of copy bandwidth", $"{model.PassBytes / Math.Max(plain.Device, 1e-9) / bandwidth:0.0%} (weights of {model.PassBytes / 1e9:0.00} GB once per token)");
        table.Add("host time of a plain step", Host(plain));

        double one = Pass(backend, target, prompt, 1, model.IsTiny), many = Pass(backend, target, prompt, tree.TotalTokens + 1, model.IsTiny);
        table.Add($"verification of {tree.TotalTokens + 1} tokens relative to one", $"{many / one:0.000} ({many * 1e3:0.000} ms, {one * 1e3:0.000} ms; launched one by one)");

        // The chain that the random model writes is one token of the prompt, which the trimmed head scores too.
        int vocabulary = target.Config.VocabularySize;
        foreach (int scored in (int[])[vocabulary, model.IsTiny ? vocabulary / 2 : TrimmedVocabulary])
        {
            using DraftHead? trimmed = scored == vocabulary ? null : new DraftHead(backend, model.Target.LmHead, [.. Enumerable.Range(0, scored)]);
            using MoaDrafter drafter = new(backend, model.Drafter, target, 0) { Head = trimmed };
            string head = trimmed is null ? $"whole head of {scored}" : $"head trimmed to {scored}";
            Steps cycle = Measure(backend, target, drafter, tree, prompt, steps, PaperTau);
            table.Add($"cycle, tree {tree.Depth},{tree.Breadth},{tree.TotalTokens}, {head}", $"{cycle.Wall * 1e3:0.000} ms, of which drafting {(cycle.Device - many) * 1e3:0.000} ms");
            table.Add($"host time of a cycle, {head}", Host(cycle));
            double projected = PaperTau * plain.Wall / cycle.Wall, speedup = cycle.TokensPerSecond / plain.TokensPerSecond;
            table.Add($"projected speedup at tau {PaperTau}, {head}", $"{projected:0.00}, speedup/tau {projected / PaperTau:0.00} (medians of the measured times)");
            table.Add(
                $"measured speedup, acceptance forced to tau {cycle.Tau:0.00}, {head}",
                $"{speedup:0.00}, speedup/tau {speedup / cycle.Tau:0.00} ({cycle.TokensPerSecond:0.0} against {plain.TokensPerSecond:0.0} tokens/s)");
        }
    }

    private static string Host(Steps steps) => $"{Math.Max(0, steps.Wall - steps.Device) * 1e6:0} us (wall clock less the device's own), 1 launch, 1 wait";

    /// <summary>Seconds of a step, by the host's clock and by the device's; tokens a step and a second over all steps.</summary>
    private readonly record struct Steps(double Wall, double Device, double Tau, double TokensPerSecond);

    /// <param name="backend">The device.</param>
    /// <param name="target">The target.</param>
    /// <param name="drafter">What drafts.</param>
    /// <param name="tree">Shape of the trees, null for plain decoding.</param>
    /// <param name="prompt">Tokens of the prompt.</param>
    /// <param name="steps">Steps measured.</param>
    /// <param name="tau">Tokens a step to come to on average.</param>
    private static Steps Measure(CudaBackend backend, LlamaModel target, Drafter drafter, TreeSettings? tree, int prompt, int steps, double tau = 1)
    {
        GenerationPlan plan = new()
        {
            Prompt = [.. Enumerable.Range(0, prompt).Select(i => i * 7 % Math.Min(target.Config.VocabularySize / 2, TrimmedVocabulary))],
            Request = new GenerationRequest { PromptIds = [1], Tree = tree, Drafter = drafter },
            MaxTokens = prompt + (40 * steps) + 40,
            EndTokens = [],
            Drafter = drafter,
            Tokenizer = null,
        };
        using Generation generation = new(backend, target, plan);
        generation.Prefill(CancellationToken.None);

        // Both lengths that the average is made of are recorded before anything is measured.
        int few = (int)Math.Floor(tau) - 1;
        for (int i = 0; i < 4; i++)
        {
            generation.MostAccepted = few + (i % 2);
            generation.Step();
        }

        int before = generation.NewTokens;
        long begun = Stopwatch.GetTimestamp();
        double[] wall = new double[steps], device = new double[steps];
        for (int i = 0; i < steps; i++)
        {
            generation.MostAccepted = generation.NewTokens - before + few + 1 < (i + 1) * tau ? few + 1 : few;
            long start = Stopwatch.GetTimestamp();
            generation.Step();
            wall[i] = Stopwatch.GetElapsedTime(start).TotalSeconds;
            device[i] = generation.DeviceSeconds;
        }

        double all = Stopwatch.GetElapsedTime(begun).TotalSeconds;
        int tokens = generation.NewTokens - before;
        Array.Sort(wall);
        Array.Sort(device);
        return new Steps(wall[steps / 2], device[steps / 2], tokens / (double)steps, tokens / all);
    }

    private static double Pass(CudaBackend backend, LlamaModel target, int context, int rows, bool isTiny)
    {
        using KvCache cache = target.CreateCache(context + rows);
        using TargetPass pass = new(backend, target, rows, rows);
        PassBatch batch = new(rows, rows);
        for (int i = 0; i < rows; i++)
        {
            batch.AddTree(cache, new TokenId(i % target.Config.VocabularySize), new Position(context), new CacheRow(context + i), context, [context + i]);
        }

        return Timing.Median(backend, () =>
        {
            pass.Forward(batch);
            pass.Logits(0, rows);
        }, isTiny).Seconds;
    }
}

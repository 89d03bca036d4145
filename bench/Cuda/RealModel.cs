using System.Diagnostics;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Backends.Cuda;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;

namespace LowLevelSpec.CudaBench;

/// <summary>A model from disk: equality of the speculative text, tau and measured speedup.</summary>
internal static class RealModel
{
    private static readonly string[] Prompts =
    [
        "Explain how a binary search works and what its running time is.",
        "Write a short story about a lighthouse keeper who finds a letter.",
        "A train travels 120 miles in 2 hours. How far does it travel in 5 hours at the same speed?",
    ];

    public static void Run(string path, string? drafterPath, string device, ResultTable table)
    {
        Compare(path, drafterPath, device, PrefillProducts.Kernels, table);
        Compare(path, drafterPath, device, PrefillProducts.Auto, table);
    }

    private static void Compare(string path, string? drafterPath, string device, PrefillProducts prefill, ResultTable table)
    {
        using LanguageModel model = LanguageModel.Open(path, new EngineOptions { Device = device, Prefill = prefill });
        string name = $"{Path.GetFileName(path)}, prefill by {(((CudaBackend)model.Backend).HasCublas ? "cuBLAS" : "own kernels")}";
        if (prefill == PrefillProducts.Auto && !((CudaBackend)model.Backend).HasCublas)
        {
            return;
        }

        using Drafter drafter = model.OpenDrafter(drafterPath ?? "lookup");
        double plainSeconds = 0, speculativeSeconds = 0, prefillSeconds = 0;
        long tokens = 0, passes = 0, prompts = 0;
        int equal = 0;

        // Once unmeasured: code is compiled and loaded, memory taken.
        model.Generate(new GenerationRequest { Prompt = Prompts[0], MaxNewTokens = 8, Drafter = drafter, Tree = new TreeSettings(7, 8, 62) });
        foreach (string prompt in Prompts)
        {
            GenerationRequest request = new() { Prompt = prompt, MaxNewTokens = 256, Tree = new TreeSettings(7, 8, 62) };
            long start = Stopwatch.GetTimestamp();
            GenerationResult plain = model.Generate(request);
            plainSeconds += Stopwatch.GetElapsedTime(start).TotalSeconds;
            start = Stopwatch.GetTimestamp();
            GenerationResult speculative = model.Generate(request with { Drafter = drafter });
            speculativeSeconds += Stopwatch.GetElapsedTime(start).TotalSeconds;
            equal += plain.OutputIds.SequenceEqual(speculative.OutputIds) ? 1 : 0;
            tokens += speculative.Statistics.NewTokens;
            passes += speculative.Statistics.TargetPasses;
            prompts += plain.Statistics.PromptTokens;
            prefillSeconds += plain.Statistics.PrefillSeconds;
        }

        table.Add($"{name}: speculative text equal to plain", $"{equal} of {Prompts.Length}");
        string head = drafter.DraftVocabularySize is int scored ? $", head trimmed to {scored}" : "";
        table.Add($"{name}: tokens per target pass", $"{tokens / (double)Math.Max(1, passes):0.00}, drafter {drafter.Kind}{head}");
        table.Add($"{name}: measured speedup, prefill included", $"{plainSeconds / speculativeSeconds:0.00}");
        table.Add($"{name}: prefill", $"{prompts / prefillSeconds:0} tokens/s over {prompts} tokens of {Prompts.Length} prompts");
    }
}

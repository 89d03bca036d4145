using LowLevelSpec.Cli.Output.Plots;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Remote.Measuring;

namespace LowLevelSpec.Cli.LinkBench;

/// <summary>One drafter's text without the link.</summary>
/// <param name="Drafter">Path.</param>
/// <param name="Kind">moa, eagle, independent.</param>
/// <param name="Points">By tokens since the cut.</param>
internal sealed record DisconnectedCurve(string Drafter, string Kind, IReadOnlyList<DisconnectedPoint> Points)
{
    /// <summary>Mean tokens of a cut's text that the target would have written itself, up to the first difference.</summary>
    public double MeanIntact => Points.Sum(static p => p.Intact);
}

/// <summary>What <c>llspec link-bench --disconnected</c> reports.</summary>
internal sealed record DisconnectedReport(string Model, int Prompts, int CutsPerPrompt, IReadOnlyList<DisconnectedCurve> Curves)
{
    /// <summary>Distances shown in the table.</summary>
    public static IReadOnlyList<int> Shown { get; } = [1, 2, 4, 8, 16, 24, DisconnectedQuality.MostTokens];

    /// <summary>Agreement over the left file, log-probability over the right one.</summary>
    public void Plot(string path)
    {
        string ending = Path.GetExtension(path), stem = path[..^ending.Length];
        Chart agreement = new("Text written alone: agreement with the target's own continuation", "tokens since the cut", "share of cuts");
        Chart probability = new("Text written alone: how likely the target finds it", "tokens since the cut", "mean log-probability, nats");
        foreach (DisconnectedCurve curve in Curves)
        {
            double[] xs = [.. curve.Points.Select(static p => (double)p.Tokens)];
            agreement.Line(curve.Kind, xs, [.. curve.Points.Select(static p => p.Agreement)]);
            agreement.Line($"{curve.Kind}, intact up to here", xs, [.. curve.Points.Select(static p => p.Intact)]);
            probability.Line(curve.Kind, xs, [.. curve.Points.Select(static p => p.LogProbability)]);
        }

        agreement.Save(path);
        probability.Save($"{stem}-probability{ending}");
    }
}

/// <summary>Measures drafters' text without the link.</summary>
internal static class DisconnectedRun
{
    public static DisconnectedReport Run(
        LanguageModel model, string modelPath, IReadOnlyList<string> drafters, IReadOnlyList<int[]> prompts, int cutsPerPrompt, Action advance, CancellationToken cancellation)
    {
        List<DisconnectedCurve> curves = [];
        IReadOnlyList<GenerationRequest> requests = [.. prompts.Select(static ids => new GenerationRequest { PromptIds = ids })];
        foreach (string path in drafters)
        {
            using Drafter drafter = model.OpenDrafter(path);
            curves.Add(new DisconnectedCurve(path, drafter.Kind, DisconnectedQuality.Measure(model, drafter, requests, cutsPerPrompt, advance, cancellation)));
        }

        return new DisconnectedReport(modelPath, prompts.Count, cutsPerPrompt, curves);
    }
}

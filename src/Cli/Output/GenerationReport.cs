using LowLevelSpec.Engine.Decoding;

namespace LowLevelSpec.Cli.Output;

/// <summary>Seconds of a generation by part.</summary>
internal sealed record SecondsReport(double Prefill, double Draft, double Verify, double Other);

/// <summary>One generation for programs: what <c>generate --json</c> prints.</summary>
internal sealed record GenerationReport
{
    /// <summary>The target's path.</summary>
    public required string Model { get; init; }

    /// <summary>Kind of drafter: moa, moa-tli1, eagle, independent, lookup, none.</summary>
    public required string Drafter { get; init; }

    /// <summary>What ran it.</summary>
    public required string Backend { get; init; }

    /// <summary>The prompt as the target read it.</summary>
    public required IReadOnlyList<int> PromptIds { get; init; }

    /// <summary>New tokens.</summary>
    public required IReadOnlyList<int> OutputIds { get; init; }

    /// <summary>Their text; null without a tokenizer.</summary>
    public required string? Text { get; init; }

    /// <summary>stop, length or cancelled.</summary>
    public required FinishReason FinishReason { get; init; }

    /// <summary>Passes after prefill.</summary>
    public required int TargetPasses { get; init; }

    /// <summary>Tokens per target pass.</summary>
    public required double Tau { get; init; }

    /// <summary>Accepted draft tokens of each cycle.</summary>
    public required IReadOnlyList<int> Accepted { get; init; }

    /// <summary>[d] = cycles that accepted a node of depth d + 1.</summary>
    public required IReadOnlyList<int> AcceptedPerDepth { get; init; }

    /// <summary>Draft nodes verified in all.</summary>
    public required long DraftedNodes { get; init; }

    /// <summary>Where the time went.</summary>
    public required SecondsReport Seconds { get; init; }

    /// <summary>New tokens after the first, per second after prefill.</summary>
    public required double TokensPerSecond { get; init; }

    /// <summary>The report of a finished or cancelled generation.</summary>
    public static GenerationReport From(string model, string backend, string drafter, GenerationResult result)
    {
        GenerationStatistics figures = result.Statistics;
        return new GenerationReport
        {
            Model = model,
            Drafter = drafter,
            Backend = backend,
            PromptIds = result.PromptIds,
            OutputIds = result.OutputIds,
            Text = result.Text,
            FinishReason = result.FinishReason,
            TargetPasses = figures.TargetPasses,
            Tau = figures.Tau,
            Accepted = figures.Accepted,
            AcceptedPerDepth = figures.AcceptedPerDepth,
            DraftedNodes = figures.DraftedNodes,
            Seconds = new SecondsReport(figures.PrefillSeconds, figures.DraftSeconds, figures.VerifySeconds, figures.OtherSeconds),
            TokensPerSecond = figures.TokensPerSecond,
        };
    }

    /// <summary>The figures in one line for people.</summary>
    public static string Line(GenerationStatistics figures) =>
        $"{figures.NewTokens} tokens in {figures.TargetPasses} passes after prefill, tau {figures.Tau:0.00}, {figures.TokensPerSecond:0.0} tokens/s (prefill of {figures.PromptTokens}: {figures.PrefillSeconds:0.00} s)";
}

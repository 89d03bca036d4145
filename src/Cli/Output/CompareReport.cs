using LowLevelSpec.Engine.Decoding;

namespace LowLevelSpec.Cli.Output;

/// <summary>One prompt, decoded plainly and speculatively.</summary>
internal sealed record PromptComparison
{
    /// <summary>Place among all prompts, 0 = first.</summary>
    public required int Index { get; init; }

    /// <summary>The prompt's file.</summary>
    public required string File { get; init; }

    /// <summary>Its line there, 1 = first.</summary>
    public required int Line { get; init; }

    /// <summary>Whether both wrote the same tokens.</summary>
    public bool Identical => FirstDifference is null;

    /// <summary>First output index at which they differ; null where they don't.</summary>
    public required int? FirstDifference { get; init; }

    /// <summary>Tokens per target pass of the speculative run.</summary>
    public required double Tau { get; init; }

    /// <summary>Tokens of the prompt.</summary>
    public required int PromptTokens { get; init; }

    /// <summary>Tokens of the speculative run.</summary>
    public required int NewTokens { get; init; }

    /// <summary>Target passes of the speculative run.</summary>
    public required int TargetPasses { get; init; }

    /// <summary>Why the speculative run ended.</summary>
    public required FinishReason FinishReason { get; init; }

    /// <summary>Tokens after the first, per second after prefill.</summary>
    public required double PlainTokensPerSecond { get; init; }

    /// <summary>The same for the speculative run.</summary>
    public required double SpeculativeTokensPerSecond { get; init; }

    /// <summary>Figures of the plain run, for pooling.</summary>
    internal GenerationStatistics Plain { get; init; } = new();

    /// <summary>Figures of the speculative run, for pooling.</summary>
    internal GenerationStatistics Speculative { get; init; } = new();

    /// <summary>Compares two generations.</summary>
    public static PromptComparison From(int index, string file, int line, GenerationResult plain, GenerationResult speculative) =>
        From(index, file, line, FirstDifferenceOf(plain.OutputIds, speculative.OutputIds), speculative.FinishReason, plain.Statistics, speculative.Statistics);

    /// <summary>From figures of two generations that were compared before.</summary>
    public static PromptComparison From(int index, string file, int line, int? firstDifference, FinishReason finishReason, GenerationStatistics plain, GenerationStatistics speculative) => new()
    {
        Index = index,
        File = file,
        Line = line,
        FirstDifference = firstDifference,
        Tau = speculative.Tau,
        PromptTokens = speculative.PromptTokens,
        NewTokens = speculative.NewTokens,
        TargetPasses = speculative.TargetPasses,
        FinishReason = finishReason,
        PlainTokensPerSecond = plain.TokensPerSecond,
        SpeculativeTokensPerSecond = speculative.TokensPerSecond,
        Plain = plain,
        Speculative = speculative,
    };

    /// <summary>The first index at which two sequences differ, one's end included; null where they are equal.</summary>
    internal static int? FirstDifferenceOf(IReadOnlyList<int> a, IReadOnlyList<int> b)
    {
        int i = 0;
        while (i < a.Count && i < b.Count && a[i] == b[i])
        {
            i++;
        }

        return i == a.Count && i == b.Count ? null : i;
    }
}

/// <summary>Figures of several prompts together: sums over sums, so that a long answer counts as much as it is long.</summary>
internal sealed record PooledComparison
{
    /// <summary>Pools prompts.</summary>
    public PooledComparison(IReadOnlyCollection<PromptComparison> prompts)
    {
        Prompts = prompts.Count;
        Identical = prompts.Count(static p => p.Identical);
        long committed = prompts.Sum(static p => Committed(p.Speculative)), passes = prompts.Sum(static p => (long)p.TargetPasses);
        Tau = Json.Ratio(committed, passes) ?? 0;
        PlainTokensPerSecond = Json.Ratio(prompts.Sum(static p => Committed(p.Plain)), prompts.Sum(static p => Seconds(p.Plain)));
        SpeculativeTokensPerSecond = Json.Ratio(committed, prompts.Sum(static p => Seconds(p.Speculative)));
        Speedup = Json.Ratio(SpeculativeTokensPerSecond ?? 0, PlainTokensPerSecond ?? 0);
    }

    /// <summary>Prompts compared.</summary>
    public int Prompts { get; }

    /// <summary>Prompts with the same tokens both ways.</summary>
    public int Identical { get; }

    /// <summary>Tokens committed by cycles / target passes.</summary>
    public double Tau { get; }

    /// <summary>Plain seconds per token / speculative seconds per token, prefill left out; null where nothing came after prefill.</summary>
    public double? Speedup { get; }

    /// <summary>Plain decoding after prefill.</summary>
    public double? PlainTokensPerSecond { get; }

    /// <summary>Speculative decoding after prefill.</summary>
    public double? SpeculativeTokensPerSecond { get; }

    /// <summary>Tokens written by cycles: all but the first, which is prefill's.</summary>
    private static int Committed(GenerationStatistics figures) => Math.Max(0, figures.NewTokens - 1);

    private static double Seconds(GenerationStatistics figures) => figures.DraftSeconds + figures.VerifySeconds + figures.OtherSeconds;
}

/// <summary>Pooled figures of one file of prompts.</summary>
internal sealed record FileComparison(string File, int Prompts, int Identical, double Tau, double? Speedup, double? PlainTokensPerSecond, double? SpeculativeTokensPerSecond);

/// <summary>A whole comparison for programs: what <c>compare --json</c> writes.</summary>
internal sealed record CompareReport
{
    /// <summary>Creates the report of what has been compared.</summary>
    public CompareReport(IReadOnlyList<PromptComparison> prompts)
    {
        PerPrompt = prompts;
        Pooled = new PooledComparison(prompts);
        PerFile =
        [
            .. prompts.GroupBy(static p => p.File).Select(static group =>
            {
                PooledComparison pooled = new([.. group]);
                return new FileComparison(group.Key, pooled.Prompts, pooled.Identical, pooled.Tau, pooled.Speedup, pooled.PlainTokensPerSecond, pooled.SpeculativeTokensPerSecond);
            }),
        ];
    }

    /// <summary>The target's path.</summary>
    public required string Model { get; init; }

    /// <summary>Kind of drafter.</summary>
    public required string Drafter { get; init; }

    /// <summary>What ran it.</summary>
    public required string Backend { get; init; }

    /// <summary>Prompts compared.</summary>
    public int Prompts => Pooled.Prompts;

    /// <summary>Prompts with the same tokens both ways.</summary>
    public int Identical => Pooled.Identical;

    /// <summary>Tokens committed by cycles / target passes, pooled.</summary>
    public double Tau => Pooled.Tau;

    /// <summary>Plain seconds per token / speculative seconds per token after prefill, pooled.</summary>
    public double? Speedup => Pooled.Speedup;

    /// <summary>Plain decoding after prefill, pooled.</summary>
    public double? PlainTokensPerSecond => Pooled.PlainTokensPerSecond;

    /// <summary>Speculative decoding after prefill, pooled.</summary>
    public double? SpeculativeTokensPerSecond => Pooled.SpeculativeTokensPerSecond;

    /// <summary>Figures per file.</summary>
    public IReadOnlyList<FileComparison> PerFile { get; }

    /// <summary>Figures per prompt.</summary>
    public IReadOnlyList<PromptComparison> PerPrompt { get; }

    private PooledComparison Pooled { get; }
}

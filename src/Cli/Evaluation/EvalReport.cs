using LowLevelSpec.Cli.Output;
using LowLevelSpec.Cli.Prompts;

namespace LowLevelSpec.Cli.Evaluation;

/// <summary>Figures of one way of decoding over one set of prompts, or over all: sums over sums.</summary>
internal sealed record EvalCell
{
    /// <summary>Pools prompts.</summary>
    /// <param name="set">Name of the set.</param>
    /// <param name="prompts">Its prompts, decoded plainly and this way.</param>
    public EvalCell(string set, IReadOnlyCollection<PromptComparison> prompts)
    {
        PooledComparison pooled = new(prompts);
        Set = set;
        Prompts = pooled.Prompts;
        Identical = pooled.Identical;
        Tau = pooled.Tau;
        Speedup = pooled.Speedup;
        double passes = prompts.Sum(static p => (double)p.TargetPasses);
        double? plain = Json.Ratio(1000, pooled.PlainTokensPerSecond ?? 0);
        PlainMilliseconds = plain;
        DraftMilliseconds = Json.Ratio(1000 * prompts.Sum(static p => p.Speculative.DraftSeconds), passes);
        VerifyMilliseconds = Json.Ratio(1000 * prompts.Sum(static p => p.Speculative.VerifySeconds), passes);
        DraftCost = Json.Ratio(DraftMilliseconds ?? 0, plain ?? 0);
        VerifyCost = Json.Ratio(VerifyMilliseconds ?? 0, plain ?? 0);
    }

    /// <summary>Name of the set of prompts.</summary>
    public string Set { get; }

    /// <summary>Prompts decoded.</summary>
    public int Prompts { get; }

    /// <summary>Of these, how many have plain decoding's tokens.</summary>
    public int Identical { get; }

    /// <summary>Tokens committed by cycles / target passes.</summary>
    public double Tau { get; }

    /// <summary>Plain seconds per token / these seconds per token, prefill left out.</summary>
    public double? Speedup { get; }

    /// <summary>Plain decoding, per token.</summary>
    public double? PlainMilliseconds { get; }

    /// <summary>In the drafter, per target pass.</summary>
    public double? DraftMilliseconds { get; }

    /// <summary>In the target, per pass.</summary>
    public double? VerifyMilliseconds { get; }

    /// <summary>Drafting for one pass, in plain tokens' time.</summary>
    public double? DraftCost { get; }

    /// <summary>One target pass, in plain tokens' time.</summary>
    public double? VerifyCost { get; }
}

/// <summary>One way of decoding over all sets.</summary>
/// <param name="Drafter">Label of the drafter.</param>
/// <param name="Kind">What it is: moa, moa-tli1, eagle, independent, lookup, none.</param>
/// <param name="Tree">Depth x breadth x tokens; empty for plain decoding.</param>
/// <param name="Sets">Per set of prompts.</param>
/// <param name="All">Over all prompts.</param>
/// <param name="MeanTau">Mean of the sets' taus, each set weighing the same, as in the paper's table.</param>
/// <param name="MeanSpeedup">Mean of the sets' speedups.</param>
internal sealed record EvalRow(string Drafter, string Kind, string Tree, IReadOnlyList<EvalCell> Sets, EvalCell All, double MeanTau, double? MeanSpeedup);

/// <summary>A whole evaluation: what <c>eval</c> writes for programs.</summary>
internal sealed record EvalReport
{
    /// <summary>The target's path.</summary>
    public required string Model { get; init; }

    /// <summary>What ran it.</summary>
    public required string Backend { get; init; }

    /// <summary>Most new tokens per prompt.</summary>
    public required int MaxNewTokens { get; init; }

    /// <summary>Whether every prompt was decoded every way.</summary>
    public required bool Complete { get; init; }

    /// <summary>The ways of decoding.</summary>
    public required IReadOnlyList<EvalRow> Rows { get; init; }

    /// <summary>Whether every text equals plain decoding's.</summary>
    public bool AllIdentical => Rows.All(static row => row.All.Identical == row.All.Prompts);

    /// <summary>Pools the journal's records by way of decoding and set.</summary>
    /// <param name="settings">The ways, in the table's order, with the drafters' kinds.</param>
    /// <param name="prompts">All prompts.</param>
    /// <param name="records">What was measured.</param>
    public static IReadOnlyList<EvalRow> Pool(IEnumerable<(string Drafter, string Kind, string Tree)> settings, IReadOnlyList<FilePrompt> prompts, IReadOnlyList<EvalRecord> records)
    {
        Dictionary<int, EvalRecord> plain = records.Where(static r => r.Tree.Length == 0).ToDictionary(static r => r.Prompt);
        return
        [
            .. settings.Select(setting =>
            {
                List<PromptComparison> done = [.. records.Where(r => r.Tree == setting.Tree && (r.Tree.Length == 0 || r.Drafter == setting.Drafter) && plain.ContainsKey(r.Prompt)).Select(r => Compare(prompts[r.Prompt], plain[r.Prompt], r))];
                List<EvalCell> sets = [.. done.GroupBy(static p => p.File).Select(static group => new EvalCell(SetName(group.Key), [.. group]))];
                double? speedup = sets.Count > 0 && sets.All(static s => s.Speedup is not null) ? sets.Average(static s => s.Speedup!.Value) : null;
                return new EvalRow(setting.Drafter, setting.Kind, setting.Tree, sets, new EvalCell("all", done), sets.Count > 0 ? sets.Average(static s => s.Tau) : 0, speedup);
            }),
        ];
    }

    private static string SetName(string file) => Path.GetFileNameWithoutExtension(file);

    private static PromptComparison Compare(FilePrompt prompt, EvalRecord plain, EvalRecord speculative) =>
        PromptComparison.From(speculative.Prompt, prompt.File, prompt.Line, speculative.FirstDifference, speculative.FinishReason, plain.Figures(), speculative.Figures());
}

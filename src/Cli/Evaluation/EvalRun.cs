using LowLevelSpec.Cli.Output;
using LowLevelSpec.Cli.Prompts;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;

namespace LowLevelSpec.Cli.Evaluation;

/// <summary>One way of decoding.</summary>
/// <param name="Label">What tables call the drafter.</param>
/// <param name="Drafter">The drafter; null = plain decoding.</param>
/// <param name="Tree">Its tree; null = plain decoding.</param>
internal sealed record EvalWay(string Label, Drafter? Drafter, TreeSettings? Tree)
{
    /// <summary>The tree as tables name it; empty for plain decoding.</summary>
    public string TreeName => Tree is null ? "" : EvalTrees.Name(Tree);
}

/// <summary>Decodes every prompt plainly and every other way, one after the other, so that what a machine does meanwhile hits all ways alike.</summary>
internal sealed class EvalRun(LanguageModel model, GenerationRequest request, IReadOnlyList<FilePrompt> prompts, IReadOnlyList<EvalWay> ways)
{
    /// <summary>The ways asked for.</summary>
    public IReadOnlyList<EvalWay> Ways { get; } = ways;

    /// <summary>Measures what the journal lacks.</summary>
    /// <returns>False where it was cancelled.</returns>
    public bool Go(CliConsole console, EvalJournal journal, CancellationToken cancellation)
    {
        ILookup<int, EvalRecord> done = journal.Records.ToLookup(static r => r.Prompt);
        List<int> open = [.. Enumerable.Range(0, prompts.Count).Where(i => !IsPlainDone(done[i]) || Ways.Any(way => !IsDone(done[i], way)))];
        if (open.Count == 0)
        {
            return true;
        }

        if (open.Count < prompts.Count)
        {
            console.Error.WriteLine($"eval: {prompts.Count - open.Count} of {prompts.Count} prompts are done, going on");
        }

        try
        {
            PromptRunner.WarmUp(model, prompts[open[0]], request, Ways.Select(static way => way.Drafter).Distinct(), cancellation);
            ProgressReport.Run(console, "eval", open.Count, advance =>
            {
                foreach (int index in open)
                {
                    Prompt(index, done[index], journal, cancellation);
                    advance();
                }
            });
            return true;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }

    private static bool IsPlainDone(IEnumerable<EvalRecord> records) => records.Any(static r => r.Tree.Length == 0);

    private static bool IsDone(IEnumerable<EvalRecord> records, EvalWay way) => way.Tree is null ? IsPlainDone(records) : records.Any(r => r.Drafter == way.Label && r.Tree == way.TreeName);

    /// <summary>Plain decoding runs again where any other way is left: its text is what they are compared with, and its time what they are measured in.</summary>
    private void Prompt(int index, IEnumerable<EvalRecord> done, EvalJournal journal, CancellationToken cancellation)
    {
        GenerationResult plain = PromptRunner.Decode(model, prompts[index], request, cancellation);
        if (!IsPlainDone(done))
        {
            journal.Write(EvalRecord.From(index, EvalDrafter.None, "", null, plain));
        }

        foreach (EvalWay way in Ways.Where(way => way.Tree is not null && !IsDone(done, way)))
        {
            GenerationResult drafted = PromptRunner.Decode(model, prompts[index], request with { Drafter = way.Drafter, Tree = way.Tree }, cancellation);
            journal.Write(EvalRecord.From(index, way.Label, way.TreeName, PromptComparison.FirstDifferenceOf(plain.OutputIds, drafted.OutputIds), drafted));
        }
    }
}

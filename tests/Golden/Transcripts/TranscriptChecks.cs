using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Models;

namespace LowLevelSpec.Golden;

/// <summary>transcripts.json and tli-transcripts.json: whole greedy runs, with every cycle's accepted length and the first cycles' trees.</summary>
internal static class TranscriptChecks
{
    /// <summary>Checks plain greedy decoding of every prompt and every run of the file.</summary>
    public static void Run(GoldenReport report, CaseFolder folder, string fileName)
    {
        TranscriptFile? file = null;
        if (!report.Prepare(folder.Name, fileName, () => file = TranscriptFile.Read(folder.File(fileName))))
        {
            return;
        }

        HashSet<string> missing = new(StringComparer.Ordinal);
        for (int p = 0; p < file!.Prompts.Count; p++)
        {
            TranscriptPrompt prompt = file.Prompts[p];
            report.Run(folder.Name, "plain greedy", $"{fileName} prompt {p}", () => Plain(folder, file, prompt));
            foreach ((string drafterName, Dictionary<string, TranscriptRun> runs) in prompt.Runs)
            {
                // One failure says that a drafter can't be opened; a hundred would hide the rest.
                Drafter? drafter = null;
                if (missing.Contains(drafterName) || !report.Prepare(folder.Name, $"{fileName} drafter {drafterName}", () => drafter = folder.Drafter(drafterName, fileName)))
                {
                    missing.Add(drafterName);
                    continue;
                }

                foreach ((string setting, TranscriptRun run) in runs)
                {
                    report.Run(folder.Name, $"run {drafterName} {setting}", $"{fileName} prompt {p} {drafterName} {setting}", () =>
                        Speculative(folder, file, prompt, drafter!, setting, run));
                }
            }
        }
    }

    private static Outcome Plain(CaseFolder folder, TranscriptFile file, TranscriptPrompt prompt)
    {
        GenerationResult result = folder.Model.Generate(Request(folder, file, prompt) with { Tree = null });
        return Difference(result.OutputIds, prompt.Greedy) is string difference ? Outcome.Fail(difference, prompt.Greedy.Length) : Outcome.Exact(prompt.Greedy.Length);
    }

    private static GenerationRequest Request(CaseFolder folder, TranscriptFile file, TranscriptPrompt prompt) => new()
    {
        PromptIds = prompt.Ids,
        MaxNewTokens = file.MaxNewTokens,

        // The file decides what ends a text; where the target's config says the same, the config's own way is taken.
        IgnoreEndTokens = !folder.Model.Config.EndTokens.Order().SequenceEqual(file.EndTokens.Order()),
        StopTokens = file.EndTokens,
    };

    private static Outcome Speculative(CaseFolder folder, TranscriptFile file, TranscriptPrompt prompt, Drafter drafter, string settingName, TranscriptRun run)
    {
        TranscriptSetting setting = file.Settings.TryGetValue(settingName, out TranscriptSetting? known) ? known : throw new InputException($"the file's settings have no '{settingName}'");
        GenerationRequest request = Request(folder, file, prompt) with { Drafter = drafter, Tree = new TreeSettings(setting.Depth, setting.Breadth, setting.TotalTokens) };
        using Generation generation = folder.Model.Begin(request);
        generation.Prefill(CancellationToken.None);
        List<int> accepted = [], emitted = [];
        string? difference = null, note = null;
        double largest = 0;
        while (generation.Finished is null)
        {
            int verified = generation.Cache.Length, written = generation.NewTokens, cycle = accepted.Count;
            generation.Step();
            accepted.Add(generation.LastAccepted);
            emitted.Add(generation.NewTokens - written);
            if (difference is null && cycle < run.Cycles.Count)
            {
                int? bonus = emitted[^1] > accepted[^1] ? generation.Tokens[^1] : null;
                TreeResult tree = TreeComparison.Compare(generation.Tree, generation.AcceptedNodes, verified, bonus, run.Cycles[cycle]);
                largest = Math.Max(largest, tree.LargestError);
                difference = tree.Difference is null ? null : $"cycle {cycle}: {tree.Difference}";
                note = tree.Note is null ? note : $"cycle {cycle}: {tree.Note}";
            }
        }

        int[] output = generation.Tokens[prompt.Ids.Length..].ToArray();
        if (!run.SameAsGreedy)
        {
            // The reference fell for padding (golden README, point 10); the engine must not.
            return Difference(output, prompt.Greedy) is string fork
                ? Outcome.Fail(fork, output.Length)
                : Outcome.Exact(output.Length) with { Note = "the reference's own output is not the greedy one here; the engine's is" };
        }

        double tau = generation.Statistics().Tau;
        difference ??= Difference(accepted, run.Accepted, "accepted per cycle") ?? Difference(emitted, run.Emitted, "emitted per cycle");
        difference ??= accepted.Count + 1 != run.TargetCalls ? $"{accepted.Count + 1} target calls, expected {run.TargetCalls}" : null;
        difference ??= run.Tau is double expected && !(Math.Abs(tau - expected) <= Tolerances.Tau.Absolute) ? $"tau {tau:F4}, expected {expected:F4}" : null;
        difference ??= run.EndsInsideRun is bool inside && accepted.Count > 0 && inside != (emitted[^1] == accepted[^1]) ? $"ends inside an accepted run: {!inside}, expected {inside}" : null;
        long values = output.Length + accepted.Count + emitted.Count + run.Cycles.Sum(static c => (long)c.Tokens.Length * 4);
        Outcome passed = new(CheckStatus.Passed, values, largest, Tolerances.TreeLogProbabilities.Absolute, Note: note);
        if (Difference(output, run.Output) is string wrong)
        {
            return passed with { Status = CheckStatus.Failed, Detail = wrong };
        }

        return difference is null ? passed
            : run.MinSelectionGap < Tolerances.SelectionGap.Absolute ? passed with { LargestError = 0, Note = $"near tie (smallest selection gap {run.MinSelectionGap:G2}), same output, but {difference}" }
            : passed with { Status = CheckStatus.Failed, Detail = difference };
    }

    private static string? Difference(IReadOnlyList<int> found, IReadOnlyList<int> expected, string what = "output")
    {
        for (int i = 0; i < Math.Max(found.Count, expected.Count); i++)
        {
            if (i >= found.Count || i >= expected.Count || found[i] != expected[i])
            {
                return $"{what} differs from entry {i} on: found {At(found, i)}, expected {At(expected, i)}";
            }
        }

        return null;

        static string At(IReadOnlyList<int> list, int i) => i < list.Count ? $"{list[i]} (of {list.Count})" : $"the end (of {list.Count})";
    }
}

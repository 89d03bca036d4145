using LowLevelSpec.Training.Checking;

namespace LowLevelSpec.Golden;

/// <summary>training.safetensors and training.json: the trainer's masks, losses, gradients and optimiser traces against the reference's.</summary>
internal static class TrainingChecks
{
    /// <summary>Runs the trainer's own comparison on a case and reports one check per variant and group.</summary>
    public static void Run(GoldenReport report, CaseFolder folder, IReadOnlyList<string> files)
    {
        string[] missing = [.. files.Where(file => !folder.Has(file))];
        if (missing.Length > 0)
        {
            report.Add(folder.Name, "training", missing[0], Outcome.Fail($"{missing[0]} is missing, expected it beside {files.First(folder.Has)}"));
            return;
        }

        IReadOnlyList<GoldenResult> results = [];
        if (report.Prepare(folder.Name, "training", () => results = TrainingGolden.Check(folder.Folder)))
        {
            foreach (GoldenResult r in results)
            {
                report.Add(folder.Name, $"training: {r.Group}", $"{r.Variant} {r.Group}", Judge(r));
            }
        }
    }

    private static Outcome Judge(GoldenResult r) => r.Passed
        ? new Outcome(CheckStatus.Passed, r.Values, r.LargestError, r.Tolerance)
        : new Outcome(CheckStatus.Failed, r.Values, r.LargestError, r.Tolerance, $"{r.Worst}: error {r.LargestError:e2}, allowed {r.Tolerance:e1}");
}

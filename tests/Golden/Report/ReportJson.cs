using System.Text.Json;

namespace LowLevelSpec.Golden;

/// <summary>The report for programs.</summary>
internal static class ReportJson
{
    private static readonly JsonSerializerOptions Options = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower, WriteIndented = true };

    /// <summary>One JSON object: counts, the table's rows, every check.</summary>
    public static string Write(GoldenReport report) => JsonSerializer.Serialize(
        new
        {
            report.Passed,
            report.Failed,
            report.Skipped,
            Groups = ReportTable.Rows(report).Select(static r => new { r.Case, r.Group, r.Checks, r.Values, LargestError = Finite(r.LargestError), r.Tolerance, r.Failed, r.Skipped }),
            Checks = report.Checks.Select(static c => new
            {
                c.Case,
                c.Group,
                c.Name,
                Status = c.Outcome.Status.ToString().ToLowerInvariant(),
                c.Outcome.Values,
                LargestError = Finite(c.Outcome.LargestError),
                c.Outcome.Tolerance,
                c.Outcome.Detail,
                c.Outcome.Note,
            }),
            Notes = report.Notes.Select(static n => $"{n.Case}: {n.Text}"),
        },
        Options);

    /// <summary>JSON has no infinity: null stands for an error that is not finite.</summary>
    private static double? Finite(double error) => double.IsFinite(error) ? error : null;
}

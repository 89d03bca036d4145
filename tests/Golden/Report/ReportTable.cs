using System.Globalization;
using Spectre.Console;

namespace LowLevelSpec.Golden;

/// <summary>One row of the table: the checks of one case and group.</summary>
internal sealed record ReportRow(string Case, string Group, int Checks, long Values, double LargestError, double Tolerance, int Failed, int Skipped)
{
    public string Error => Tolerance == 0 && LargestError == 0 ? "exact" : LargestError.ToString("0.0e+0", CultureInfo.InvariantCulture);

    public string Allowed => Tolerance == 0 ? "exact" : Tolerance.ToString("0.0e+0", CultureInfo.InvariantCulture);

    public string Share => Tolerance == 0 ? "" : (LargestError / Tolerance).ToString("0.0%", CultureInfo.InvariantCulture);

    public string Result => Failed > 0 ? $"{Failed} FAILED" : Skipped == Checks ? "skipped" : "ok";
}

/// <summary>The report for people.</summary>
internal static class ReportTable
{
    private static readonly string[] Headers = ["case", "comparison", "checks", "values", "largest error", "tolerance", "used", "result"];

    /// <summary>Most failures and skips that are spelled out.</summary>
    private const int MostListed = 200;

    /// <summary>Rows in the order their first check ran.</summary>
    public static IEnumerable<ReportRow> Rows(GoldenReport report) => report.Checks
        .GroupBy(static c => (c.Case, c.Group))
        .Select(static g => new ReportRow(
            g.Key.Case,
            g.Key.Group,
            g.Count(),
            g.Sum(static c => c.Outcome.Values),
            g.Max(static c => c.Outcome.LargestError),
            g.Max(static c => c.Outcome.Tolerance),
            g.Count(static c => c.Outcome.Status == CheckStatus.Failed),
            g.Count(static c => c.Outcome.Status == CheckStatus.Skipped)));

    /// <summary>Prints table, failures, notes and skips; the summary is the last line.</summary>
    /// <param name="report">Results.</param>
    /// <param name="output">Where to print.</param>
    /// <param name="interactive">A drawn table in colour; else plain aligned text.</param>
    /// <param name="verbose">Every check, not only the groups.</param>
    public static void Print(GoldenReport report, TextWriter output, bool interactive, bool verbose)
    {
        List<string[]> rows = [.. Rows(report).Select(static r => (string[])[r.Case, r.Group, $"{r.Checks}", $"{r.Values}", r.Error, r.Allowed, r.Share, r.Result])];
        int[] widths = [.. Headers.Select((header, i) => rows.Select(r => r[i].Length).Append(header.Length).Max())];

        // A drawn table takes three columns between cells; in a narrower window it would break up words.
        if (interactive && AnsiConsole.Profile.Width >= widths.Sum() + (3 * widths.Length))
        {
            Draw(rows);
        }
        else
        {
            Align(rows, widths, output);
        }

        if (verbose)
        {
            List(output, "Checks", report.Checks.Select(static c => $"{c.Outcome.Status,-7} {c.Case} {c.Name}: error {c.Outcome.LargestError:G3}, tolerance {c.Outcome.Tolerance:G3}, {c.Outcome.Values} values"), int.MaxValue);
        }

        List(output, "Failed", report.Checks.Where(static c => c.Outcome.Status == CheckStatus.Failed).Select(static c => $"{c.Case} {c.Name}: {c.Outcome.Detail}"), MostListed);
        List(output, "Listed, not failed", report.Notes.Select(static n => $"{n.Case} {n.Text}").Concat(report.Checks.Where(static c => c.Outcome.Note is not null).Select(static c => $"{c.Case} {c.Name}: {c.Outcome.Note}")), MostListed);
        List(output, "Skipped", report.Checks.Where(static c => c.Outcome.Status == CheckStatus.Skipped).Select(static c => $"{c.Case} {c.Name}: {c.Outcome.Detail}"), MostListed);
        output.WriteLine();
        output.WriteLine(report.Summary);
    }

    private static void List(TextWriter output, string title, IEnumerable<string> lines, int most)
    {
        string[] all = [.. lines];
        if (all.Length == 0)
        {
            return;
        }

        output.WriteLine();
        output.WriteLine($"{title}:");
        foreach (string line in all.Take(most))
        {
            output.WriteLine($"  {line}");
        }

        if (all.Length > most)
        {
            output.WriteLine($"  and {all.Length - most} more");
        }
    }

    private static void Align(List<string[]> rows, int[] widths, TextWriter output)
    {
        foreach (string[] row in rows.Prepend(Headers))
        {
            // Numbers to the right, words to the left.
            output.WriteLine(string.Join("  ", row.Select((cell, i) => i is >= 2 and <= 6 ? cell.PadLeft(widths[i]) : cell.PadRight(widths[i]))).TrimEnd());
        }
    }

    private static void Draw(List<string[]> rows)
    {
        Table table = new() { Border = TableBorder.Simple };
        for (int i = 0; i < Headers.Length; i++)
        {
            TableColumn column = new(Headers[i]) { NoWrap = true };
            table.AddColumn(i is >= 2 and <= 6 ? column.RightAligned() : column);
        }

        foreach (string[] row in rows)
        {
            string colour = row[^1] switch
            {
                "ok" => "green",
                "skipped" => "yellow",
                _ => "red",
            };
            table.AddRow([.. row[..^1].Select(Markup.Escape), $"[{colour}]{row[^1]}[/]"]);
        }

        AnsiConsole.Write(table);
    }
}

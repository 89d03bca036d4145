using LowLevelSpec.Cli.Output.Plots;

namespace LowLevelSpec.Cli.Benchmarking;

/// <summary>What a pass over k rows costs relative to one row, ours and the peer's, per number of threads.</summary>
internal static class BenchChart
{
    /// <summary>Replaces <paramref name="path"/>, which ends in .svg or .png.</summary>
    public static void Save(BenchReport report, string path)
    {
        using Chart chart = new($"{Path.GetFileName(report.Model)}: cost of a pass", "rows of the pass", "times a pass over one row");
        foreach (ThreadsReport t in report.Threads)
        {
            RowsReport[] rows = [.. t.Rows.OrderBy(static r => r.Rows)];
            string threads = $"{t.Threads} thread{(t.Threads == 1 ? "" : "s")}";
            chart.Line(threads, [.. rows.Select(static r => (double)r.Rows)], [.. rows.Select(static r => r.Relative)], markers: true);
            if (report.Peer is not null)
            {
                chart.Line($"llama-bench, {threads}", [.. rows.Select(static r => (double)r.Rows)], [.. rows.Select(static r => r.PeerRelative ?? double.NaN)], markers: true);
            }
        }

        chart.Save(path);
    }
}

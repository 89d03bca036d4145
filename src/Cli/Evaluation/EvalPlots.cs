using LowLevelSpec.Cli.Output.Plots;

namespace LowLevelSpec.Cli.Evaluation;

/// <summary>An evaluation as bars: tau and speedup of every way of decoding, by set of prompts.</summary>
internal static class EvalPlots
{
    /// <summary>Writes tau.svg and speedup.svg.</summary>
    public static void Write(EvalReport report, string folder)
    {
        EvalRow[] rows = [.. report.Rows.Where(static row => row.Tree.Length > 0 && row.Sets.Count > 0)];
        if (rows.Length == 0)
        {
            return;
        }

        string name = Path.GetFileName(report.Model.TrimEnd('/'));
        Save("tau", $"Tokens committed per target pass, {name}", "tau", static cell => cell.Tau, static row => row.MeanTau);
        Save("speedup", $"Speedup over plain decoding, {name}", "speedup", static cell => cell.Speedup ?? double.NaN, static row => row.MeanSpeedup ?? double.NaN);

        void Save(string file, string title, string axis, Func<EvalCell, double> cell, Func<EvalRow, double> mean)
        {
            string[] sets = [.. rows.SelectMany(static row => row.Sets).Select(static set => set.Set).Distinct()];
            (string, IReadOnlyList<double>)[] series =
            [
                .. rows.Select(row => ($"{row.Drafter} {row.Tree}", (IReadOnlyList<double>)[.. sets.Select(set => row.Sets.Where(s => s.Set == set).Select(cell).DefaultIfEmpty(double.NaN).First()), mean(row)])),
            ];
            new Chart(title, "prompts", axis).Bars([.. sets, "mean"], series).Save(Path.Combine(folder, file + ".svg"));
        }
    }
}

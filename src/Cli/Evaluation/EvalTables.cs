using System.Globalization;
using System.Text;

namespace LowLevelSpec.Cli.Evaluation;

/// <summary>An evaluation as Markdown: the paper's table (speedup and tau per set), then what a pass costs.</summary>
internal static class EvalTables
{
    /// <summary>The whole page.</summary>
    public static string Page(EvalReport report)
    {
        StringBuilder page = new();
        page.Append($"# {System.IO.Path.GetFileName(report.Model.TrimEnd('/'))}: speculative against plain decoding\n\n");
        page.Append($"{report.Backend}, at most {report.MaxNewTokens} new tokens a prompt{(report.Complete ? "" : ", **not finished**")}. ");
        page.Append("Cells: speedup over plain decoding in the same run, tau.\n\n");
        Append(page, Speedups(report));
        page.Append("\nCosts over all prompts: of drafting for a pass and of a target pass, in milliseconds and in the time of one plainly decoded token.\n\n");
        Append(page, Costs(report));
        return page.ToString();
    }

    /// <summary>Header and rows: drafter, tree, one column per set, mean.</summary>
    public static IReadOnlyList<string[]> Speedups(EvalReport report)
    {
        List<string> sets = [.. report.Rows.SelectMany(static row => row.Sets).Select(static cell => cell.Set).Distinct()];
        List<string[]> table = [["drafter", "tree", .. sets, "mean"]];
        foreach (EvalRow row in report.Rows)
        {
            table.Add([row.Drafter, row.Tree, .. sets.Select(set => row.Sets.FirstOrDefault(cell => cell.Set == set) is EvalCell cell ? Pair(cell.Speedup, cell.Tau) : ""), Pair(row.MeanSpeedup, row.MeanTau)]);
        }

        return table;
    }

    /// <summary>Header and rows: drafter, kind, tree, draft and verify cost, identical texts.</summary>
    public static IReadOnlyList<string[]> Costs(EvalReport report)
    {
        List<string[]> table = [["drafter", "kind", "tree", "draft ms", "verify ms", "plain ms", "draft cost", "verify cost", "identical"]];
        foreach (EvalRow row in report.Rows)
        {
            EvalCell all = row.All;
            table.Add([row.Drafter, row.Kind, row.Tree, Number(all.DraftMilliseconds), Number(all.VerifyMilliseconds), Number(all.PlainMilliseconds), Number(all.DraftCost), Number(all.VerifyCost), $"{all.Identical} of {all.Prompts}"]);
        }

        return table;
    }

    private static string Pair(double? speedup, double tau) => $"{Number(speedup)}, {Number(tau)}";

    private static string Number(double? value) => value is double number ? number.ToString("0.00", CultureInfo.InvariantCulture) : "-";

    private static void Append(StringBuilder page, IReadOnlyList<string[]> table)
    {
        for (int i = 0; i < table.Count; i++)
        {
            page.Append($"| {string.Join(" | ", table[i].Select(static cell => cell.Replace("|", "\\|", StringComparison.Ordinal)))} |\n");
            if (i == 0)
            {
                page.Append($"|{string.Concat(Enumerable.Repeat("---|", table[i].Length))}\n");
            }
        }
    }
}

using System.Globalization;
using System.Text;

namespace LowLevelSpec.Cli.Benchmarking;

/// <summary>A report as Markdown: what ran, then a table per question.</summary>
internal static class BenchTables
{
    /// <summary>The whole report.</summary>
    public static string Markdown(BenchReport report)
    {
        StringBuilder text = new();
        text.Append(CultureInfo.InvariantCulture, $"{Path.GetFileName(report.Model)}, {report.PassBytes / 1e6:0.0} MB of weights per token; {report.Backend}, {report.KvType} keys and values; {report.Processor ?? "unknown processor"}, {report.Cores} cores; ");
        text.Append(CultureInfo.InvariantCulture, $"{report.Time:yyyy-MM-dd HH:mm} UTC; medians of {report.Repeats} rounds, quartiles in brackets; context {report.Context}");
        text.Append(report.Peer is null ? "" : $"; llama-bench {report.Peer}").Append(".\n\n");
        Decoding(text, report);
        Passes(text, report);
        Speculation(text, report);
        return text.ToString();
    }

    private static void Decoding(StringBuilder text, BenchReport report)
    {
        Row(text, "threads", "decode tokens/s", "llama-bench", "ratio", "read GB/s", "share of it", "llama-bench's", $"first token of {report.Threads[0].PromptTokens}, ms", "prompt tokens/s", "llama-bench", "ratio");
        Rule(text, 11);
        foreach (ThreadsReport t in report.Threads)
        {
            Row(
                text, $"{t.Threads}", $"{F(t.DecodeTokensPerSecond)} {S(t.DecodeSpread)}", F(t.PeerTokensPerSecond) + (t.PeerSpread is null ? "" : " " + S(t.PeerSpread)), F(t.DecodeOverPeer, "0.00"),
                F(t.ReadBandwidthGbPerSecond), P(t.DecodeShareOfBandwidth), P(t.PeerShareOfBandwidth), $"{F(t.TimeToFirstTokenMs)} {S(t.TimeToFirstTokenSpread)}",
                F(t.PromptTokensPerSecond), F(t.PeerPromptTokensPerSecond), F(t.PromptOverPeer, "0.00"));
        }

        text.Append('\n');
    }

    private static void Passes(StringBuilder text, BenchReport report)
    {
        Row(text, "threads", "rows", "ms", "relative", "llama-bench ms", "relative");
        Rule(text, 6);
        foreach (ThreadsReport t in report.Threads)
        {
            foreach (RowsReport r in t.Rows)
            {
                Row(text, $"{t.Threads}", $"{r.Rows}", $"{F(r.Ms, "0.00")} {S(r.Spread, "0.00")}", F(r.Relative, "0.00"), F(r.PeerMs, "0.00"), F(r.PeerRelative, "0.00"));
            }
        }

        text.Append('\n');
    }

    private static void Speculation(StringBuilder text, BenchReport report)
    {
        if (!report.Threads.Any(static t => t.Speculative is not null))
        {
            return;
        }

        Row(text, "threads", "prompts", "plain tokens/s", "speculative", "speedup", "tau", "over llama-bench's decoding");
        Rule(text, 7);
        foreach ((int threads, SpeculativeReport? s, double? peer) in report.Threads.Select(static t => (t.Threads, t.Speculative, t.PeerTokensPerSecond)))
        {
            foreach (SetReport set in s?.Sets ?? [])
            {
                Row(text, $"{threads}", Path.GetFileNameWithoutExtension(set.Prompts), F(set.PlainTokensPerSecond), F(set.SpeculativeTokensPerSecond), $"{F(set.Speedup, "0.00")} {S(set.Spread, "0.00")}", F(set.Tau, "0.00"), F(set.SpeculativeTokensPerSecond / peer, "0.00"));
            }

            if (s is { Sets.Count: > 1 })
            {
                Row(text, $"{threads}", $"mean ({s.Drafter}, tree {s.Tree})", "", F(s.MeanTokensPerSecond), F(s.MeanSpeedup, "0.00"), "", F(s.OverPeer, "0.00"));
            }
        }

        text.Append('\n');
    }

    private static void Row(StringBuilder text, params string[] cells) => text.Append("| ").AppendJoin(" | ", cells).Append(" |\n");

    private static void Rule(StringBuilder text, int columns) => text.Append('|').Insert(text.Length, "---|", columns).Append('\n');

    private static string F(double? value, string format = "0.0") => value?.ToString(format, CultureInfo.InvariantCulture) ?? "";

    private static string P(double? share) => share?.ToString("0 %", CultureInfo.InvariantCulture) ?? "";

    private static string S(Spread spread, string format = "0.0") => $"({F(spread.Low, format)}..{F(spread.High, format)})";
}

using LowLevelSpec.Cli.Output.Plots;
using Spectre.Console;

namespace LowLevelSpec.Cli.LinkBench;

/// <summary>The table for people, and its diagram.</summary>
internal static class LinkTablePrinter
{
    public static void Print(CliConsole console, LinkTableReport report)
    {
        Table table = console.CreateTable().AddColumns("profile", "method", "identical", "ms/token", "calls/100", "up B/token", "down B/token", "first p50 ms", "p95 ms", "tau", "round trip ms");
        foreach (LinkRow row in report.Rows)
        {
            table.AddRow(
                row.Profile, Name(row.Method), $"{row.Identical}/{row.Prompts}", $"{row.MsPerToken:0.0}", $"{row.CallsPer100Tokens:0.0}", $"{row.BytesUpPerToken:0}", $"{row.BytesDownPerToken:0}",
                $"{row.FirstTokenP50Ms:0}", $"{row.FirstTokenP95Ms:0}", $"{row.Tau:0.00}", $"{row.RoundTripMs:0.0}");
        }

        console.Write(table);
        foreach (ScaledBytes scaled in report.ScaledTo8b)
        {
            console.Out.WriteLine($"scaled to an 8B target, state as {scaled.Encoding}: {scaled.BytesDown:0} bytes down per committed token ({scaled.StateBytes} of state), {scaled.BytesUp:0} up, the prompt apart");
        }

        foreach (StreamCrossover at in report.StreamCrossover)
        {
            console.Out.WriteLine($"at {at.PassMs:0} ms a pass MoA beats the stream up to a round trip of {at.RoundTripMs:0} ms (tau {at.Tau:0.00}, {at.DraftMs:0.0} ms of drafting a call)");
        }

        if (report.Faults != new CallFaultCounts(0, 0, 0))
        {
            console.Out.WriteLine($"calls lost {report.Faults.Lost}, repeated {report.Faults.Repeated}, reordered {report.Faults.Reordered}");
        }

        console.Out.WriteLine($"identical to local plain decoding: {report.Identical} of {report.Answers}");
    }

    /// <summary>Milliseconds per token, a group of bars per profile, on a logarithmic scale told by its name.</summary>
    public static void Plot(LinkTableReport report, string path)
    {
        string[] profiles = [.. report.Rows.Select(static r => r.Profile).Distinct()];
        new Chart($"Milliseconds per token over links (a pass takes at least {report.ServerPassMs:0} ms)", "link profile", "log10 of ms per token")
            .Bars(profiles, [.. report.Rows.Select(static r => r.Method).Distinct().Select(method => (Name(method), (IReadOnlyList<double>)[.. profiles.Select(p => Value(p, method))]))])
            .Save(path);

        double Value(string profile, BenchMethod method) => Math.Log10(report.Rows.Single(r => r.Profile == profile && r.Method == method).MsPerToken ?? double.NaN);
    }

    private static string Name(BenchMethod method) => method switch
    {
        BenchMethod.VanillaPerCall => "per call",
        BenchMethod.VanillaStreamed => "streamed",
        BenchMethod.Eagle2 => "EAGLE-2",
        _ => "MoA",
    };
}

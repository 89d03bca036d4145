using LowLevelSpec.Models;
using LowLevelSpec.Remote.Links;
using LowLevelSpec.Remote.Server;

namespace LowLevelSpec.Cli.LinkBench;

/// <summary>
/// The table: every prompt over every profile by every method, server, relay and client in this process. Methods take turns prompt by prompt, so that a busy
/// machine slows them alike.
/// </summary>
internal sealed class LinkTableRun(BenchRig rig, TimeSpan passTime, CallFaults faults, int seed)
{
    /// <summary>Pass times that the crossover with the stream is reported for.</summary>
    private static readonly double[] CrossoverPassMs = [10, 40, 100];

    /// <summary>Answers one run has.</summary>
    public int Steps(int profiles) => profiles * rig.Models.Methods.Count * rig.Cases.Count;

    public async Task<LinkTableReport> RunAsync(IReadOnlyList<LinkProfile> profiles, Action advance, CancellationToken cancellation)
    {
        List<LinkRow> rows = [];
        CallFaultCounts counts = new(0, 0, 0);
        TargetServer server = await TargetServer.StartAsync(rig.Served, new ServerOptions { PassTime = passTime }, cancellation).ConfigureAwait(false);
        await using (server.ConfigureAwait(false))
        {
            foreach (LinkProfile profile in profiles)
            {
                (IReadOnlyList<LinkRow> measured, CallFaultCounts faulted) = await RunAsync(server, profile, advance, cancellation).ConfigureAwait(false);
                rows.AddRange(measured);
                counts += faulted;
            }
        }

        LinkRow? moa = rows.Where(static r => r.Method == BenchMethod.Moa).MaxBy(static r => r.RoundTripMs);
        return new LinkTableReport
        {
            Model = rig.Models.Target,
            Moa = rig.Models.Moa,
            Eagle = rig.Models.Eagle,
            Backend = rig.Served.Model.BackendName,
            Prompts = rig.Cases.Count,
            MaxNewTokens = rig.MaxNew,
            Encoding = rig.Encoding,
            Tree = rig.Tree,
            ServerPassMs = passTime.TotalMilliseconds,
            CallFaults = faults,
            Faults = counts,
            Profiles = [.. profiles.Select(static p => new ProfileFigures(p))],
            Rows = rows,
            ScaledTo8b = moa is null ? [] : ScaledBytes.From(moa, rig.Encoding, CrossAttention()),
            StreamCrossover = moa is null ? [] : [.. CrossoverPassMs.Select(ms => new StreamCrossover(ms, moa.Tau ?? 1, moa.DraftMsPerCall ?? 0))],
        };
    }

    private async Task<(IReadOnlyList<LinkRow> Rows, CallFaultCounts Faults)> RunAsync(TargetServer server, LinkProfile profile, Action advance, CancellationToken cancellation)
    {
        Dictionary<BenchMethod, BenchLink> links = [];
        Dictionary<BenchMethod, List<LinkAnswer>> answers = [];
        try
        {
            foreach (BenchMethod method in rig.Models.Methods)
            {
                // A link each, with the same seed: no method has luckier losses than another.
                links[method] = await BenchLink.OpenAsync(rig, method, server, profile, faults, seed).ConfigureAwait(false);
                answers[method] = [];

                // Not counted: code is compiled and memory touched.
                await links[method].Client.WriteAsync(rig.Cases[0], cancellation).ConfigureAwait(false);
            }

            foreach (BenchCase one in rig.Cases)
            {
                foreach (BenchMethod method in rig.Models.Methods)
                {
                    answers[method].Add(await links[method].Client.WriteAsync(one, cancellation).ConfigureAwait(false));
                    advance();
                }
            }

            return ([.. rig.Models.Methods.Select(method => new LinkRow(profile.Name, method, answers[method]))], links.Values.Aggregate(new CallFaultCounts(0, 0, 0), static (sum, link) => sum + link.Faults));
        }
        finally
        {
            foreach (BenchLink link in links.Values)
            {
                await link.DisposeAsync().ConfigureAwait(false);
            }
        }
    }

    private DrafterLayerConfig CrossAttention()
    {
        using DrafterFile drafter = DrafterFile.Open(rig.Models.Moa!, rig.Served.Model.Config);
        return drafter.Moa!.CrossAttentionConfig;
    }
}

using System.Net;
using System.Runtime.CompilerServices;
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
            ServerPassMs = passTime.TotalMilliseconds,
            CallFaults = faults,
            Faults = counts,
            Profiles = [.. profiles.Select(static p => new ProfileFigures(p))],
            Rows = rows,
            ScaledTo8b = moa is null ? [] : ScaledBytes.From(moa, CrossAttention()),
            StreamCrossover = moa is null ? [] : [.. CrossoverPassMs.Select(ms => new StreamCrossover(ms, moa.Tau ?? 1, moa.DraftMsPerCall ?? 0))],
        };
    }

    private async Task<(IReadOnlyList<LinkRow> Rows, CallFaultCounts Faults)> RunAsync(TargetServer server, LinkProfile profile, Action advance, CancellationToken cancellation)
    {
        LinkRelay relay = new(profile, new IPEndPoint(IPAddress.Loopback, server.Address.Port), seed);
        await using ConfiguredAsyncDisposable _ = relay.ConfigureAwait(false);

        // Calls are spoilt at the client's end of the link: what is repeated there crosses it twice.
        CallFaultProxy? proxy = faults == CallFaults.None ? null : await CallFaultProxy.StartAsync(new Uri($"http://{relay.EndPoint}"), faults, seed).ConfigureAwait(false);
        Dictionary<BenchMethod, BenchClient> clients = [];
        Dictionary<BenchMethod, List<LinkAnswer>> answers = [];
        try
        {
            foreach (BenchMethod method in rig.Models.Methods)
            {
                clients[method] = new BenchClient(rig, method, proxy?.Address ?? new Uri($"http://{relay.EndPoint}")) { Unreliable = proxy is not null };
                answers[method] = [];

                // Not counted: code is compiled and memory touched.
                await clients[method].WriteAsync(rig.Cases[0], cancellation).ConfigureAwait(false);
            }

            foreach (BenchCase one in rig.Cases)
            {
                foreach (BenchMethod method in rig.Models.Methods)
                {
                    answers[method].Add(await clients[method].WriteAsync(one, cancellation).ConfigureAwait(false));
                    advance();
                }
            }

            return ([.. rig.Models.Methods.Select(method => new LinkRow(profile.Name, method, answers[method]))], new CallFaultCounts(proxy?.Lost ?? 0, proxy?.Repeated ?? 0, proxy?.Reordered ?? 0));
        }
        finally
        {
            if (proxy is not null)
            {
                await proxy.DisposeAsync().ConfigureAwait(false);
            }
        }
    }

    private DrafterLayerConfig CrossAttention()
    {
        using DrafterFile drafter = DrafterFile.Open(rig.Models.Moa!, rig.Served.Model.Config);
        return drafter.Moa!.CrossAttentionConfig;
    }
}

using System.Net;
using LowLevelSpec.Remote.Links;
using LowLevelSpec.Remote.Server;

namespace LowLevelSpec.Cli.LinkBench;

/// <summary>A method's client, its link to the server and what spoils calls on it.</summary>
internal sealed class BenchLink : IAsyncDisposable
{
    private readonly LinkRelay _relay;
    private readonly CallFaultProxy? _proxy;

    private BenchLink(LinkRelay relay, CallFaultProxy? proxy, BenchClient client) => (_relay, _proxy, Client) = (relay, proxy, client);

    public BenchClient Client { get; }

    /// <summary>What was done to calls so far.</summary>
    public CallFaultCounts Faults => new(_proxy?.Lost ?? 0, _proxy?.Repeated ?? 0, _proxy?.Reordered ?? 0);

    public static async Task<BenchLink> OpenAsync(BenchRig rig, BenchMethod method, TargetServer server, LinkProfile profile, CallFaults faults, int seed)
    {
        LinkRelay relay = new(profile, new IPEndPoint(IPAddress.Loopback, server.Address.Port), seed);
        try
        {
            // Calls are spoilt at the client's end of the link: what is repeated there crosses it twice.
            Uri address = new($"http://{relay.EndPoint}");
            CallFaultProxy? proxy = faults == CallFaults.None ? null : await CallFaultProxy.StartAsync(address, faults, seed).ConfigureAwait(false);
            return new BenchLink(relay, proxy, new BenchClient(rig, method, proxy?.Address ?? address) { Unreliable = proxy is not null });
        }
        catch
        {
            await relay.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_proxy is not null)
        {
            await _proxy.DisposeAsync().ConfigureAwait(false);
        }

        await _relay.DisposeAsync().ConfigureAwait(false);
    }
}

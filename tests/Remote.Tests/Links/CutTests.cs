using System.Net;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Remote.Client;
using LowLevelSpec.Remote.Links;
using LowLevelSpec.Remote.Server;
using Xunit;

namespace LowLevelSpec.Remote.Tests.Links;

/// <summary>Whatever happens to link, calls and server: the text is that of local plain decoding, and no session is left behind.</summary>
public sealed class CutTests
{
    private static readonly Loopback Pair = Loopback.Instance;
    private static readonly ServerOptions ShortGrace = new() { Grace = TimeSpan.FromMilliseconds(300) };

    [Theory]
    [InlineData(LinkDirection.Up, "moa")]
    [InlineData(LinkDirection.Down, "moa")]
    [InlineData(LinkDirection.Down, "none")]
    public async Task A_reset_at_any_byte_loses_and_repeats_nothing(LinkDirection direction, string drafter)
    {
        await using TargetServer server = await Pair.StartAsync(ShortGrace);
        await using LinkRelay relay = new(LinkProfile.None, new IPEndPoint(IPAddress.Loopback, server.Address.Port));
        GenerationRequest request = Loopback.Request(2, 40);
        IReadOnlyList<int> plain = Pair.Plain(request).OutputIds;
        await WriteAsync();
        long bytes = Passed();
        for (int i = 0, more = 24; i < 24; i++)
        {
            (long before, int cuts) = (Passed(), relay.Cuts);
            relay.Arm(new LinkCut(CutKind.Reset, direction, bytes * i / 24));
            await WriteAsync();
            if (relay.Cuts == cuts && more-- > 0)
            {
                // Trees follow measured times, and a busy machine asks twice: the text took fewer bytes than the one before. The same place again, of so many.
                (bytes, i) = (Math.Min(bytes, Passed() - before), i - 1);
            }
        }

        Assert.True(relay.Cuts >= 20, $"{relay.Cuts} cuts");
        await ForgottenAsync(server);

        long Passed() => direction == LinkDirection.Up ? relay.BytesUp : relay.BytesDown;

        async Task WriteAsync()
        {
            RemoteGenerator generator = new(Pair.Client(drafter), Loopback.To(server) with { Server = new Uri($"http://{relay.EndPoint}") });
            RemoteResult result = await generator.RunAsync(request, drafter == "none" ? RemoteMethod.Streamed : RemoteMethod.Speculative);
            Assert.Equal(plain, result.OutputIds);
            Assert.Equal(plain.Count, result.Verified);
        }
    }

    [Fact]
    public async Task A_server_that_is_killed_and_started_again_goes_on_where_it_was()
    {
        TargetServer server = await Pair.StartAsync();
        try
        {
            GenerationRequest request = Loopback.Request(1, 60);
            IReadOnlyList<int> plain = Pair.Plain(request).OutputIds;
            RemoteStream stream = new RemoteGenerator(Pair.Client("moa"), Loopback.To(server)).GenerateAsync(request);
            int chunks = 0;
            await foreach (RemoteChunk chunk in stream)
            {
                if (chunk.Kind == ChunkKind.Verified && ++chunks is 2 or 5)
                {
                    int port = server.Address.Port;
                    await server.DisposeAsync();
                    server = await Loopback.StartAgainAsync(Pair.Served, new ServerOptions { Listen = $"127.0.0.1:{port}" });
                }
            }

            Assert.Equal(plain, stream.Result!.OutputIds);
            Assert.Equal(plain.Count, stream.Result.Verified);
        }
        finally
        {
            await server.DisposeAsync();
        }
    }

    [Theory]
    [InlineData("moa", RemoteMethod.Speculative)]
    [InlineData("eagle", RemoteMethod.Speculative)]
    [InlineData("none", RemoteMethod.PerCall)]
    [InlineData("none", RemoteMethod.Streamed)]
    public async Task Calls_lost_repeated_and_reordered_change_nothing(string drafter, RemoteMethod method)
    {
        await using TargetServer server = await Pair.StartAsync(ShortGrace);
        await using CallFaultProxy proxy = await CallFaultProxy.StartAsync(server.Address, new CallFaults(0.02, 0.15, 0.15), 3);
        for (int i = 0; i < 3; i++)
        {
            GenerationRequest request = Loopback.Request(i, 32);
            RemoteGenerator generator = new(Pair.Client(drafter), Loopback.To(server) with { Server = proxy.Address, AnswerDeadline = TimeSpan.FromSeconds(2) });
            RemoteResult result = await generator.RunAsync(request, method);
            IReadOnlyList<int> plain = Pair.Plain(request).OutputIds;
            Assert.Equal(plain, result.OutputIds);
            Assert.Equal(plain.Count, result.Verified);
        }

        Assert.True(proxy.Repeated + proxy.Reordered > 0);
        await ForgottenAsync(server);
    }

    [Fact]
    public void A_fault_line_loses_repeats_and_reorders_as_often_as_told()
    {
        FaultLine<object> line = new(new CallFaults(0.1, 0.1, 0.1), 5);
        List<object> sent = [.. Enumerable.Range(0, 10_000).Select(static i => (object)i)], arrived = [.. sent.SelectMany(line.Pass), .. line.Release()];
        Assert.InRange(line.Lost, 900, 1100);
        Assert.InRange(line.Repeated, 900, 1100);
        Assert.InRange(line.Reordered, 600, 1000);
        Assert.Equal(sent.Count - line.Lost + line.Repeated, arrived.Count);
        Assert.Equal(sent.Count - line.Lost, arrived.Distinct().Count());
        Assert.Equal(sent, sent.SelectMany(new FaultLine<object>(CallFaults.None, 5).Pass));
    }

    [Fact]
    public async Task Sixty_four_clients_get_their_own_text_within_the_memory_they_may_have()
    {
        // Room for about a dozen sessions at a time: the others wait, or are evicted and built again.
        const long Budget = 12 << 20;
        await using TargetServer server = await Pair.StartAsync(ShortGrace with { KvBudgetBytes = Budget });
        long most = 0;
        using CancellationTokenSource done = new();
        Task watching = Task.Run(async () =>
        {
            while (!done.IsCancellationRequested)
            {
                most = Math.Max(most, server.KvBytes);
                await Task.Delay(5);
            }
        });
        RemoteResult[] results = await Task.WhenAll(Enumerable.Range(0, 64).Select(i => new RemoteGenerator(Pair.Client("moa"), Loopback.To(server)).RunAsync(Loopback.Request(i, 12))));
        await done.CancelAsync();
        await watching;
        Assert.All(Enumerable.Range(0, 64), i => Assert.Equal(Pair.Plain(Loopback.Request(i, 12)).OutputIds, results[i].OutputIds));
        Assert.InRange(most, 1, Budget);
        await ForgottenAsync(server);
    }

    private static Task ForgottenAsync(TargetServer server) => Patience.UntilAsync(() => server.Sessions == 0 && server.KvBytes == 0, "the server forgets its sessions");
}

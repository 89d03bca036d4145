using System.Net;
using System.Net.Sockets;
using LowLevelSpec.Remote.Links;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace LowLevelSpec.Remote.Tests.Links;

public sealed class LinkRelayTests : IAsyncDisposable
{
    private readonly TcpListener _server = new(IPAddress.Loopback, 0);
    private readonly List<IDisposable> _sockets = [];
    private LinkRelay? _relay;

    public LinkRelayTests() => _server.Start();

    public async ValueTask DisposeAsync()
    {
        _sockets.ForEach(static s => s.Dispose());
        if (_relay is not null)
        {
            await _relay.DisposeAsync();
        }

        _server.Dispose();
    }

    [Fact]
    public async Task Bytes_pass_unchanged_in_both_directions()
    {
        (Socket client, Socket server) = await ConnectAsync(LinkProfile.None);
        byte[] up = Bytes(3_000_000, 1), down = Bytes(2_000_000, 2);
        Task<byte[]> atServer = ReadAsync(server, up.Length), atClient = ReadAsync(client, down.Length);
        await Task.WhenAll(client.SendAllAsync(up), server.SendAllAsync(down)).WaitAsync(Patience.Longest);
        Assert.Equal(up, await atServer.WaitAsync(Patience.Longest));
        Assert.Equal(down, await atClient.WaitAsync(Patience.Longest));

        // A relay counts what it has handed on, so the last bytes may arrive before they are counted.
        for (int i = 0; i < 1000 && _relay!.BytesUp + _relay.BytesDown < up.Length + down.Length; i++)
        {
            await Task.Delay(10);
        }

        Assert.Equal((3_000_000, 2_000_000), (_relay!.BytesUp, _relay.BytesDown));
        client.Shutdown(SocketShutdown.Send);
        Assert.Equal(0, await server.ReceiveAsync(new byte[1]).WaitAsync(Patience.Longest));

        // The other half of the connection still works.
        await server.SendAllAsync([7]);
        Assert.Equal([7], await ReadAsync(client, 1).WaitAsync(Patience.Longest));
    }

    [Theory]
    [InlineData("wifi")]
    [InlineData("3g")]
    [InlineData("satellite")]
    public async Task Bytes_pass_unchanged_through_jitter_and_losses(string profile)
    {
        FakeTimeProvider time = new();
        (Socket client, Socket server) = await ConnectAsync(LinkProfile.Parse(profile)[0] with { LossStart = 0.05 }, time);
        byte[] up = Bytes(200_000, 3);
        Task<byte[]> atServer = ReadAsync(server, up.Length);
        Task sending = client.SendAllAsync(up);
        while (!atServer.IsCompleted)
        {
            time.Advance(TimeSpan.FromMilliseconds(20));
            await Task.Delay(1);
        }

        await sending;
        Assert.Equal(up, await atServer);
        Assert.True(_relay!.PacketsLost > 0);
    }

    [Fact]
    public async Task A_message_arrives_after_the_delay_and_not_before()
    {
        FakeTimeProvider time = new();
        LinkProfile link = LinkProfile.None with { Delay = TimeSpan.FromMilliseconds(100) };
        (Socket client, Socket server) = await ConnectAsync(link, time);
        Task<byte[]> arrived = ReadAsync(server, 5);
        await client.SendAllAsync([1, 2, 3, 4, 5]);

        // The handshake's round trip comes first.
        await SettleAsync();
        time.Advance(TimeSpan.FromMilliseconds(200));
        await SettleAsync();
        time.Advance(TimeSpan.FromMilliseconds(99));
        await SettleAsync();
        Assert.False(arrived.IsCompleted);
        Assert.Equal(0, _relay!.BytesUp);
        await AdvanceUntilAsync(time, arrived);
        Assert.Equal([1, 2, 3, 4, 5], await arrived);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(77_777)]
    public async Task A_reset_comes_at_the_byte_it_was_armed_for(int bytes)
    {
        (Socket client, Socket server) = await ConnectAsync(LinkProfile.None);
        TaskCompletionSource<LinkCut> cut = new(TaskCreationOptions.RunContinuationsAsynchronously);
        _relay!.OnCut = cut.SetResult;
        _relay.Arm(new LinkCut(CutKind.Reset, LinkDirection.Up, bytes));
        Task sending = client.SendAllAsync(Bytes(200_000, 4));
        await cut.Task.WaitAsync(Patience.Longest);
        Assert.Equal((bytes, 1), (_relay.BytesUp, _relay.Cuts));
        await Assert.ThrowsAnyAsync<SocketException>(() => ReadAsync(server, 200_000)).WaitAsync(Patience.Longest);
        await Task.WhenAny(sending).WaitAsync(Patience.Longest);
        await Assert.ThrowsAnyAsync<SocketException>(() => ReadAsync(client, 1)).WaitAsync(Patience.Longest);
        await Patience.UntilAsync(() => _relay.Connections == 0, "the relay lets its connections go");
    }

    [Fact]
    public async Task A_silence_holds_back_and_loses_nothing()
    {
        (Socket client, Socket server) = await ConnectAsync(LinkProfile.None);
        _relay!.Arm(new LinkCut(CutKind.Silence, LinkDirection.Up, 10));
        byte[] up = Bytes(100, 5);
        await client.SendAllAsync(up);
        Assert.Equal(up[..10], await ReadAsync(server, 10).WaitAsync(Patience.Longest));
        Task<byte[]> rest = ReadAsync(server, 90), answer = ReadAsync(client, 1);
        await server.SendAllAsync([9]);
        await SettleAsync();
        Assert.False(rest.IsCompleted || answer.IsCompleted);
        _relay.Restore();
        Assert.Equal(up[10..], await rest.WaitAsync(Patience.Longest));
        Assert.Equal([9], await answer.WaitAsync(Patience.Longest));
    }

    [Fact]
    public async Task A_silence_of_one_direction_leaves_the_other_alone()
    {
        (Socket client, Socket server) = await ConnectAsync(LinkProfile.None);
        _relay!.Cut(CutKind.Silence, LinkDirection.Up);
        Task<byte[]> up = ReadAsync(server, 1);
        await client.SendAllAsync([1]);
        await server.SendAllAsync([2]);
        Assert.Equal([2], await ReadAsync(client, 1).WaitAsync(Patience.Longest));
        await SettleAsync();
        Assert.False(up.IsCompleted);
        _relay.Restore();
        Assert.Equal([1], await up.WaitAsync(Patience.Longest));
    }

    [Fact]
    public async Task A_closed_link_refuses_connections_until_it_is_restored()
    {
        (Socket client, Socket server) = await ConnectAsync(LinkProfile.None);
        _relay!.Close();
        Socket late = Keep(new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        await Assert.ThrowsAnyAsync<SocketException>(async () =>
        {
            // The reset may come before connecting has returned.
            await late.ConnectAsync(_relay.EndPoint);
            await ReadAsync(late, 1);
        }).WaitAsync(Patience.Longest);
        await client.SendAllAsync([1]);
        Assert.Equal([1], await ReadAsync(server, 1).WaitAsync(Patience.Longest));
        _relay.Restore();
        (client, server) = await ConnectAsync();
        await client.SendAllAsync([3]);
        Assert.Equal([3], await ReadAsync(server, 1).WaitAsync(Patience.Longest));
    }

    private async Task<(Socket Client, Socket Server)> ConnectAsync(LinkProfile profile, TimeProvider? time = null)
    {
        _relay = new LinkRelay(profile, (IPEndPoint)_server.LocalEndpoint, 11, time);
        return await ConnectAsync();
    }

    private async Task<(Socket Client, Socket Server)> ConnectAsync()
    {
        Socket client = Keep(new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        Task<Socket> accepting = _server.AcceptSocketAsync();
        await client.ConnectAsync(_relay!.EndPoint);
        return (client, Keep(await accepting.WaitAsync(Patience.Longest)));
    }

    private Socket Keep(Socket socket)
    {
        _sockets.Add(socket);
        return socket;
    }

    private static async Task<byte[]> ReadAsync(Socket socket, int count)
    {
        byte[] bytes = new byte[count];
        for (int read = 0; read < count;)
        {
            int n = await socket.ReceiveAsync(bytes.AsMemory(read));
            read += n > 0 ? n : throw new SocketException((int)SocketError.Disconnecting);
        }

        return bytes;
    }

    private static byte[] Bytes(int count, int seed)
    {
        byte[] bytes = new byte[count];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    /// <summary>Gives pumps a moment; a test that needs more than this passes without having looked, it does not fail.</summary>
    private static Task SettleAsync() => Task.Delay(50);

    private static async Task AdvanceUntilAsync(FakeTimeProvider time, Task done)
    {
        while (!done.IsCompleted)
        {
            time.Advance(TimeSpan.FromMilliseconds(1));
            await Task.Delay(1);
        }
    }
}

internal static class SocketExtensions
{
    public static async Task SendAllAsync(this Socket socket, byte[] bytes)
    {
        for (int sent = 0; sent < bytes.Length;)
        {
            sent += await socket.SendAsync(bytes.AsMemory(sent));
        }
    }
}

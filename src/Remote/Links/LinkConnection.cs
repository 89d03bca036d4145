using System.Buffers;
using System.IO.Pipelines;
using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;

namespace LowLevelSpec.Remote.Links;

/// <summary>One connection through a <see cref="LinkRelay"/>: two pumps, each with a pooled queue between the reading and the writing side.</summary>
internal sealed class LinkConnection(LinkRelay relay, Socket client, IPEndPoint address) : IDisposable
{
    /// <summary>Most bytes of one write, about what a peer's socket hands over at once.</summary>
    private const int ReadBytes = 16 << 10;

    private readonly CancellationTokenSource _stop = new();
    private readonly Socket _server = new(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
    private int _aborted;

    /// <summary>Done when both sides are closed.</summary>
    public Task Ended { get; private set; } = Task.CompletedTask;

    /// <summary>Dials the server and passes bytes until both sides have closed; then calls <paramref name="ended"/>.</summary>
    public void Start(Action ended) => Ended = Task.Run(() => RunAsync(ended));

    /// <summary>Resets both sides; what is queued is lost.</summary>
    public void Abort()
    {
        if (Interlocked.Exchange(ref _aborted, 1) != 0)
        {
            return;
        }

        _stop.Cancel();

        // Lingering for no time turns the close into a reset.
        foreach (Socket socket in (Socket[])[client, _server])
        {
            try
            {
                socket.LingerState = new LingerOption(true, 0);
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // The peer has closed it already.
            }

            socket.Dispose();
        }
    }

    /// <inheritdoc/>
    public void Dispose() => Abort();

    private async Task RunAsync(Action ended)
    {
        try
        {
            client.NoDelay = _server.NoDelay = true;
            await _server.ConnectAsync(address, _stop.Token).ConfigureAwait(false);

            // TCP's handshake takes a round trip before the first byte leaves; here the peers are connected already and their first bytes wait.
            await relay.WaitUntilAsync(relay.Now + relay.Profile.RoundTrip, _stop.Token).ConfigureAwait(false);
            await Task.WhenAll(PumpAsync(client, _server, LinkDirection.Up), PumpAsync(_server, client, LinkDirection.Down)).ConfigureAwait(false);
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException or ObjectDisposedException or IOException)
        {
            // A peer that is away or resets: the other one sees the same.
        }
        finally
        {
            Abort();
            ended();
        }
    }

    private async Task PumpAsync(Socket from, Socket to, LinkDirection direction)
    {
        LinkLane lane = relay.Lane(direction);
        Pipe pipe = new(new PipeOptions(pauseWriterThreshold: lane.QueueBytes, resumeWriterThreshold: lane.QueueBytes / 2, useSynchronizationContext: false));
        Channel<(TimeSpan Due, int Bytes)> writes = Channel.CreateUnbounded<(TimeSpan, int)>(new UnboundedChannelOptions { SingleReader = true, SingleWriter = true });
        await Task.WhenAll(ReadAsync(from, lane, pipe.Writer, writes.Writer), WriteAsync(to, direction, pipe.Reader, writes.Reader)).ConfigureAwait(false);
    }

    private async Task ReadAsync(Socket from, LinkLane lane, PipeWriter queue, ChannelWriter<(TimeSpan Due, int Bytes)> writes)
    {
        TimeSpan due = TimeSpan.Zero;
        Exception? failure = null;
        try
        {
            while (true)
            {
                int read = await from.ReceiveAsync(queue.GetMemory(ReadBytes)[..ReadBytes], _stop.Token).ConfigureAwait(false);
                if (read == 0)
                {
                    // The end of the stream travels like a byte.
                    writes.TryWrite((lane.Schedule(relay.Now, 0, due), 0));
                    return;
                }

                queue.Advance(read);
                due = lane.Schedule(relay.Now, read, due);
                writes.TryWrite((due, read));
                if ((await queue.FlushAsync(_stop.Token).ConfigureAwait(false)).IsCompleted)
                {
                    return;
                }
            }
        }
        catch (Exception e)
        {
            // TCP has no half of a reset: what fails on one side fails on both.
            failure = e;
            Abort();
            throw;
        }
        finally
        {
            writes.TryComplete(failure);
            await queue.CompleteAsync(failure).ConfigureAwait(false);
        }
    }

    private async Task WriteAsync(Socket to, LinkDirection direction, PipeReader queue, ChannelReader<(TimeSpan Due, int Bytes)> writes)
    {
        try
        {
            await foreach ((TimeSpan due, int bytes) in writes.ReadAllAsync(_stop.Token).ConfigureAwait(false))
            {
                await relay.WaitUntilAsync(due, _stop.Token).ConfigureAwait(false);
                for (int left = bytes; left > 0;)
                {
                    (int allowed, LinkCut? cut) = await relay.PassAsync(direction, left, _stop.Token).ConfigureAwait(false);
                    await SendAsync(to, direction, queue, allowed).ConfigureAwait(false);
                    left -= allowed;
                    if (cut is not null)
                    {
                        relay.Apply(cut);
                    }
                }

                if (bytes == 0)
                {
                    await relay.PassAsync(direction, 0, _stop.Token).ConfigureAwait(false);
                    to.Shutdown(SocketShutdown.Send);
                }
            }
        }
        catch
        {
            Abort();
            throw;
        }
        finally
        {
            await queue.CompleteAsync().ConfigureAwait(false);
        }
    }

    private async Task SendAsync(Socket to, LinkDirection direction, PipeReader queue, int bytes)
    {
        if (bytes == 0)
        {
            return;
        }

        ReadOnlySequence<byte> ready = (await queue.ReadAtLeastAsync(bytes, _stop.Token).ConfigureAwait(false)).Buffer.Slice(0, bytes);
        foreach (ReadOnlyMemory<byte> part in ready)
        {
            for (int sent = 0; sent < part.Length;)
            {
                sent += await to.SendAsync(part[sent..], _stop.Token).ConfigureAwait(false);
            }
        }

        relay.Count(direction, bytes);
        queue.AdvanceTo(ready.End);
    }
}

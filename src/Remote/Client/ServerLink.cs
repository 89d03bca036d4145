using System.Diagnostics;
using System.Threading.Channels;
using Google.Protobuf;
using Grpc.Core;
using LowLevelSpec.Remote.Protocol;

namespace LowLevelSpec.Remote.Client;

/// <summary>
/// One stream to the server: sends requests, hands out what comes back, keeps it alive with heartbeats and declares it lost when it is silent. It ends
/// with its stream; a new one resumes the session.
/// </summary>
internal sealed class ServerLink : IAsyncDisposable
{
    /// <summary>gRPC's frame: one byte of compression flag and four of length.</summary>
    private const int FrameBytes = 5;

    private readonly RemoteOptions _options;
    private readonly AsyncDuplexStreamingCall<ClientMessage, ServerMessage> _call;
    private readonly Channel<ServerMessage> _inbox = Channel.CreateUnbounded<ServerMessage>(new UnboundedChannelOptions { SingleReader = true });
    private readonly SemaphoreSlim _sending = new(1);
    private readonly CancellationTokenSource _stop;
    private readonly ByteCounter _bytes;
    private Task _reading = Task.CompletedTask, _beating = Task.CompletedTask;
    private Exception? _end;
    private long _lastHeard = Stopwatch.GetTimestamp(), _lastSent = Stopwatch.GetTimestamp();
    private ulong _beats;

    private ServerLink(RemoteOptions options, AsyncDuplexStreamingCall<ClientMessage, ServerMessage> call, CancellationTokenSource stop, ByteCounter bytes) =>
        (_options, _call, _stop, _bytes) = (options, call, stop, bytes);

    /// <summary>Whether anything was heard, heartbeats included, after a time in ticks of <see cref="Stopwatch"/>.</summary>
    public bool HeardSince(long time) => Interlocked.Read(ref _lastHeard) > time;

    /// <summary>What came back that is no heartbeat; fails with <see cref="LinkLostException"/> when the stream has ended.</summary>
    public ChannelReader<ServerMessage> Inbox => _inbox.Reader;

    /// <summary>Opens a stream with <paramref name="hello"/> (Open or Resume) and waits for the server's answer to it.</summary>
    /// <exception cref="LinkLostException">The server can't be reached or does not answer in time.</exception>
    /// <exception cref="SessionGoneException">The session to resume is gone.</exception>
    /// <exception cref="Models.InputException">The server refuses this client.</exception>
    public static async Task<(ServerLink Link, ServerMessage Answer)> ConnectAsync(
        Protocol.Target.TargetClient client, RemoteOptions options, ClientMessage hello, ByteCounter bytes, CancellationToken cancellation)
    {
        CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        Metadata headers = [];
        if (options.ApiKey is string key)
        {
            headers.Add("authorization", $"Bearer {key}");
        }

        ServerLink link = new(options, client.Session(headers, cancellationToken: stop.Token), stop, bytes);
        try
        {
            link._reading = link.ReadAllAsync();
            using CancellationTokenSource patience = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
            patience.CancelAfter(options.ConnectTimeout);
            await link.SendAsync(hello, patience.Token).ConfigureAwait(false);
            ServerMessage answer = await link.ReceiveAsync(patience.Token).ConfigureAwait(false);
            link._beating = link.BeatInSilenceAsync();
            return (link, answer);
        }
        catch (OperationCanceledException e) when (!cancellation.IsCancellationRequested)
        {
            await link.DisposeAsync().ConfigureAwait(false);
            throw new LinkLostException($"server {options.Authority}: no answer within {options.ConnectTimeout.TotalSeconds:0.#} s", e);
        }
        catch
        {
            await link.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Sends a message.</summary>
    /// <exception cref="LinkLostException">The stream has ended.</exception>
    public async Task SendAsync(ClientMessage message, CancellationToken cancellation)
    {
        await _sending.WaitAsync(cancellation).ConfigureAwait(false);
        try
        {
            if (_options.Faults?.Invoke(message) == true)
            {
                return;
            }

            await _call.RequestStream.WriteAsync(message, cancellation).ConfigureAwait(false);
            Interlocked.Exchange(ref _lastSent, Stopwatch.GetTimestamp());
            _bytes.Sent(message.CalculateSize() + FrameBytes);
        }
        catch (Exception e) when (e is RpcException or InvalidOperationException or IOException or ObjectDisposedException or HttpRequestException)
        {
            // Why the stream ended is the reader's to say: a refusal arrives as its status.
            await Task.WhenAny(_reading, Task.Delay(TimeSpan.FromSeconds(1), CancellationToken.None)).ConfigureAwait(false);
            throw _end ?? new LinkLostException("the stream to the server has ended", e);
        }
        finally
        {
            _sending.Release();
        }
    }

    /// <summary>The next message that is no heartbeat.</summary>
    /// <exception cref="LinkLostException">The stream has ended.</exception>
    public async ValueTask<ServerMessage> ReceiveAsync(CancellationToken cancellation)
    {
        try
        {
            return await _inbox.Reader.ReadAsync(cancellation).ConfigureAwait(false);
        }
        catch (ChannelClosedException e)
        {
            throw e.InnerException ?? new LinkLostException("the server has ended the stream");
        }
    }

    /// <summary>Tells the server that the session is over.</summary>
    public async Task CloseAsync(TimeSpan patience)
    {
        using CancellationTokenSource soon = new(patience);
        try
        {
            await SendAsync(new ClientMessage { Close = new Close() }, soon.Token).ConfigureAwait(false);
            await _call.RequestStream.CompleteAsync().WaitAsync(soon.Token).ConfigureAwait(false);
            await _reading.WaitAsync(soon.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (e is OperationCanceledException or LinkLostException or RpcException or Models.InputException or SessionGoneException or InvalidOperationException or HttpRequestException or IOException or TimeoutException)
        {
            // The session's grace ends it then.
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        _call.Dispose();
        await Task.WhenAll(_reading, _beating).ConfigureAwait(false);
        _stop.Dispose();
        _sending.Dispose();
    }

    private async Task ReadAllAsync()
    {
        try
        {
            await foreach (ServerMessage message in _call.ResponseStream.ReadAllAsync(CancellationToken.None).ConfigureAwait(false))
            {
                Interlocked.Exchange(ref _lastHeard, Stopwatch.GetTimestamp());
                _bytes.Received(message.CalculateSize() + FrameBytes);
                if (message.BodyCase is not (ServerMessage.BodyOneofCase.Heartbeat or ServerMessage.BodyOneofCase.Draining))
                {
                    _inbox.Writer.TryWrite(message);
                }
            }
        }
        catch (RpcException e)
        {
            _end = LinkLostException.From(e, _options.Authority);
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or InvalidOperationException or ObjectDisposedException or HttpRequestException)
        {
            _end = new LinkLostException("the stream to the server has ended", e);
        }
        finally
        {
            _inbox.Writer.TryComplete(_end ??= new LinkLostException("the server has ended the stream"));
        }
    }

    /// <summary>Sends a heartbeat now, which a server that is there answers at once, however long its passes take.</summary>
    /// <exception cref="LinkLostException">The stream has ended.</exception>
    public Task BeatAsync(CancellationToken cancellation) =>
        SendAsync(new ClientMessage { Heartbeat = new Heartbeat { Number = Interlocked.Increment(ref _beats) } }, cancellation);

    /// <summary>Heartbeats where either side is silent, the server needing to hear of its client while it streams; three of them unanswered and the link counts as cut.</summary>
    private async Task BeatInSilenceAsync()
    {
        try
        {
            while (true)
            {
                await Task.Delay(_options.Heartbeat, _stop.Token).ConfigureAwait(false);
                TimeSpan silence = Stopwatch.GetElapsedTime(Interlocked.Read(ref _lastHeard));
                if (silence > 3 * _options.Heartbeat)
                {
                    _inbox.Writer.TryComplete(new LinkLostException($"nothing heard from the server for {silence.TotalSeconds:0.#} s"));
                    await _stop.CancelAsync().ConfigureAwait(false);
                    return;
                }

                if (silence >= _options.Heartbeat || Stopwatch.GetElapsedTime(Interlocked.Read(ref _lastSent)) >= _options.Heartbeat)
                {
                    await BeatAsync(_stop.Token).ConfigureAwait(false);
                }
            }
        }
        catch (Exception e) when (e is OperationCanceledException or LinkLostException or Models.InputException or SessionGoneException or ObjectDisposedException)
        {
            // The reader reports the end.
        }
    }
}

/// <summary>Bytes of a generation's messages, over all its streams. Thread-safe.</summary>
internal sealed class ByteCounter
{
    private long _up, _down;

    public long Up => Interlocked.Read(ref _up);

    public long Down => Interlocked.Read(ref _down);

    public void Sent(int bytes) => Interlocked.Add(ref _up, bytes);

    public void Received(int bytes) => Interlocked.Add(ref _down, bytes);
}

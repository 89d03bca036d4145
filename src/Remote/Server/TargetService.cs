using System.Diagnostics;
using System.Threading.Channels;
using Google.Protobuf;
using Grpc.Core;
using LowLevelSpec.Remote.Protocol;

namespace LowLevelSpec.Remote.Server;

/// <summary>The gRPC service: one call of Session is one stay of a client. Everything a client sends is checked here or in <see cref="SessionRequests"/>.</summary>
internal sealed class TargetService(ServerCore core) : Protocol.Target.TargetBase
{
    /// <summary>Answers that may wait for a slow reader before its stream is cut off.</summary>
    private const int OutboxCapacity = 1024;

    public override Task<ServerInfo> Describe(DescribeRequest request, ServerCallContext context)
    {
        ClientAccount account = core.Authenticate(context);
        return Task.FromResult(core.Info(account));
    }

    public override async Task Session(IAsyncStreamReader<ClientMessage> requestStream, IServerStreamWriter<ServerMessage> responseStream, ServerCallContext context)
    {
        ClientAccount account = core.Authenticate(context);
        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken, core.Stopping);
        ClientMessage first = await ReadAsync(requestStream, account, stop).ConfigureAwait(false) ?? throw Bad("the stream ended before its first message, expected open or resume");
        (TargetSession session, ServerMessage hello) = Enter(account, first);
        Channel<ServerMessage> outbox = Channel.CreateBounded<ServerMessage>(new BoundedChannelOptions(OutboxCapacity) { SingleReader = true });
        outbox.Writer.TryWrite(hello);
        int attachment = session.Attach(outbox);
        Task writing = WriteAllAsync(outbox.Reader, responseStream, stop);
        try
        {
            await ReadAllAsync(session, outbox.Writer, requestStream, stop).ConfigureAwait(false);
        }
        finally
        {
            session.Detach(attachment);
            outbox.Writer.TryComplete();
            await FinishWritingAsync(writing, stop).ConfigureAwait(false);
        }
    }

    /// <summary>Opens a session or takes one up again.</summary>
    private (TargetSession Session, ServerMessage Hello) Enter(ClientAccount account, ClientMessage first)
    {
        switch (first.BodyCase)
        {
            case ClientMessage.BodyOneofCase.Open:
                TargetSession opened = core.Open(account, first.Open);
                return (opened, new ServerMessage
                {
                    Opened = new Opened { ResumeToken = ByteString.CopyFrom(opened.ResumeToken), Encoding = opened.Encoding, Limits = core.Limits(account) },
                });
            case ClientMessage.BodyOneofCase.Resume:
                core.CheckVersion(first.Resume.ProtocolVersion);
                TargetSession resumed = core.Sessions.Find(account, first.Resume.ResumeToken.Span)
                    ?? throw new RpcException(new Status(StatusCode.NotFound, "no such session: it was closed, its grace is over, or the server has been restarted; open a new one"));
                lock (resumed.Gate)
                {
                    // A request in progress was given up with its stream, unless its pass was already running.
                    ulong answered = resumed.Job is null ? resumed.LastRequest : resumed.LastRequest - 1;
                    return (resumed, new ServerMessage { Resumed = new Resumed { LastRequestId = answered } });
                }

            default:
                throw Bad($"the first message is {first.BodyCase}, expected open or resume");
        }
    }

    private async Task ReadAllAsync(TargetSession session, ChannelWriter<ServerMessage> outbox, IAsyncStreamReader<ClientMessage> requests, CancellationTokenSource stop)
    {
        while (await ReadAsync(requests, session.Account, stop).ConfigureAwait(false) is ClientMessage message)
        {
            session.LastActive = Stopwatch.GetTimestamp();
            switch (message.BodyCase)
            {
                case ClientMessage.BodyOneofCase.Start or ClientMessage.BodyOneofCase.Verify or ClientMessage.BodyOneofCase.Write:
                    foreach (ServerMessage answer in core.Requests.Handle(session, message))
                    {
                        // Waits where the client asks faster than it reads, so nothing piles up here.
                        await outbox.WriteAsync(answer, stop.Token).ConfigureAwait(false);
                    }

                    break;
                case ClientMessage.BodyOneofCase.Heartbeat:
                    if (!message.Heartbeat.Echo)
                    {
                        await outbox.WriteAsync(new ServerMessage { Heartbeat = new Heartbeat { Number = message.Heartbeat.Number, Echo = true } }, stop.Token).ConfigureAwait(false);
                    }

                    break;
                case ClientMessage.BodyOneofCase.Close:
                    core.Sessions.Close(session);
                    return;
                default:
                    throw Bad($"found a message of kind {message.BodyCase} inside a session, expected start, verify, write, heartbeat or close");
            }
        }
    }

    /// <summary>The next message; null at the end of the stream. Silence, floods and oversize end the stream.</summary>
    private async Task<ClientMessage?> ReadAsync(IAsyncStreamReader<ClientMessage> requests, ClientAccount account, CancellationTokenSource stop)
    {
        using CancellationTokenSource idle = CancellationTokenSource.CreateLinkedTokenSource(stop.Token);
        idle.CancelAfter(core.Options.IdleTimeout);
        try
        {
            if (!await requests.MoveNext(idle.Token).ConfigureAwait(false))
            {
                return null;
            }
        }
        catch (OperationCanceledException) when (!stop.IsCancellationRequested)
        {
            throw new RpcException(new Status(StatusCode.DeadlineExceeded, $"nothing was heard for {core.Options.IdleTimeout.TotalSeconds:0.#} s; send heartbeats"));
        }
        catch (OperationCanceledException)
        {
            throw new RpcException(new Status(StatusCode.Unavailable, core.Stopping.IsCancellationRequested ? "the server has stopped" : "the stream was dropped"));
        }

        ClientMessage message = requests.Current;
        int bytes = message.CalculateSize();
        core.Metrics.BytesUp(bytes);
        if (bytes > account.Limits.MessageBytes)
        {
            core.Metrics.Refused("oversize");
            throw new RpcException(new Status(StatusCode.ResourceExhausted, $"a message of {bytes} bytes, expected at most {account.Limits.MessageBytes} (the key's limit)"));
        }

        if (!account.TakeMessage())
        {
            core.Metrics.Refused("flood");
            throw new RpcException(new Status(StatusCode.ResourceExhausted, $"more than {account.Limits.MessagesPerSecond} messages per second (the key's limit); slow down"));
        }

        return message;
    }

    private async Task WriteAllAsync(ChannelReader<ServerMessage> outbox, IServerStreamWriter<ServerMessage> responses, CancellationTokenSource stop)
    {
        try
        {
            await foreach (ServerMessage message in outbox.ReadAllAsync(stop.Token).ConfigureAwait(false))
            {
                await responses.WriteAsync(message, stop.Token).WaitAsync(core.Options.IdleTimeout, stop.Token).ConfigureAwait(false);
            }
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            // A reader too slow, a connection gone: the stream ends, and the session waits for its client to come back.
            core.Metrics.Refused("slow reader");
            throw;
        }
        finally
        {
            await stop.CancelAsync().ConfigureAwait(false);
        }
    }

    private static async Task FinishWritingAsync(Task writing, CancellationTokenSource stop)
    {
        try
        {
            await writing.ConfigureAwait(false);
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or InvalidOperationException or TimeoutException or SlowReaderException or RpcException)
        {
            // The stream is over either way.
        }

        await stop.CancelAsync().ConfigureAwait(false);
    }

    private RpcException Bad(string message)
    {
        core.Metrics.Refused("protocol");
        return new RpcException(new Status(StatusCode.InvalidArgument, message));
    }
}

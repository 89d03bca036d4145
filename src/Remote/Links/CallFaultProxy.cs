using System.Net;
using Grpc.Core;
using Grpc.Net.Client;
using LowLevelSpec.Remote.Protocol;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace LowLevelSpec.Remote.Links;

/// <summary>
/// Stands between a client and a server and loses, repeats and reorders their calls, in both directions: what a proxy, a reconnecting transport or a
/// bug may do, and TCP alone never does (there see <see cref="LinkRelay"/>). The greeting that opens or resumes a stream, and its end, pass untouched: without it there is no
/// session whose calls could be lost. Thread-safe.
/// </summary>
public sealed class CallFaultProxy : IAsyncDisposable
{
    /// <summary>How long a message is held back where none follows that could overtake it.</summary>
    public static readonly TimeSpan Held = TimeSpan.FromMilliseconds(20);

    private readonly WebApplication _app;
    private readonly FaultService _service;

    private CallFaultProxy(WebApplication app, FaultService service, Uri address) => (_app, _service, Address) = (app, service, address);

    /// <summary>Where clients connect.</summary>
    public Uri Address { get; }

    /// <summary>Messages lost so far.</summary>
    public int Lost => _service.Lost;

    /// <summary>Messages repeated so far.</summary>
    public int Repeated => _service.Repeated;

    /// <summary>Messages that arrived after a later one.</summary>
    public int Reordered => _service.Reordered;

    /// <summary>Starts to listen on a free port of loopback.</summary>
    /// <param name="server">The server, or a relay before it.</param>
    /// <param name="faults">How often what happens.</param>
    /// <param name="seed">Of what happens.</param>
    public static async Task<CallFaultProxy> StartAsync(Uri server, CallFaults faults, int seed)
    {
        ArgumentNullException.ThrowIfNull(server);
        ArgumentNullException.ThrowIfNull(faults);
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder(new WebApplicationOptions { ContentRootPath = AppContext.BaseDirectory });
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(static kestrel => kestrel.Listen(IPAddress.Loopback, 0, static endpoint => endpoint.Protocols = HttpProtocols.Http2));
        builder.Services.AddGrpc();
        FaultService service = new(GrpcChannel.ForAddress(server), faults, seed);
        builder.Services.AddSingleton(service);
        WebApplication app = builder.Build();
        app.MapGrpcService<FaultService>();
        await app.StartAsync().ConfigureAwait(false);
        string address = app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First();
        return new CallFaultProxy(app, service, new Uri(address));
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _service.StopAsync().ConfigureAwait(false);
        using (CancellationTokenSource soon = new(TimeSpan.FromSeconds(2)))
        {
            await _app.StopAsync(soon.Token).ConfigureAwait(false);
        }

        await _app.DisposeAsync().ConfigureAwait(false);
    }
}

/// <summary>The proxy's service: a call of each direction per message.</summary>
internal sealed class FaultService(GrpcChannel channel, CallFaults faults, int seed) : Protocol.Target.TargetBase, IDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly Protocol.Target.TargetClient _server = new(channel);
    private int _streams, _lost, _repeated, _reordered;

    public int Lost => _lost;

    public int Repeated => _repeated;

    public int Reordered => _reordered;

    public async Task StopAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        channel.Dispose();
    }

    public void Dispose()
    {
        channel.Dispose();
        _stop.Dispose();
    }

    public override async Task<ServerInfo> Describe(DescribeRequest request, ServerCallContext context) =>
        await _server.DescribeAsync(request, context.RequestHeaders, cancellationToken: context.CancellationToken).ConfigureAwait(false);

    public override async Task Session(IAsyncStreamReader<ClientMessage> requestStream, IServerStreamWriter<ServerMessage> responseStream, ServerCallContext context)
    {
        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken, _stop.Token);
        int stream = Interlocked.Increment(ref _streams);
        using AsyncDuplexStreamingCall<ClientMessage, ServerMessage> call = _server.Session(context.RequestHeaders, cancellationToken: stop.Token);
        Task up = UpAsync(requestStream, call.RequestStream, new FaultLine<ClientMessage>(faults, unchecked((seed * 1_000_003) + (2 * stream))), stop.Token);
        try
        {
            await PassAsync(
                call.ResponseStream,
                responseStream,
                new FaultLine<ServerMessage>(faults, unchecked((seed * 1_000_003) + (2 * stream) + 1)),
                static m => m.BodyCase is ServerMessage.BodyOneofCase.Opened or ServerMessage.BodyOneofCase.Resumed,
                stop.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            throw new RpcException(new Status(StatusCode.Unavailable, "the link was cut"));
        }
        finally
        {
            await stop.CancelAsync().ConfigureAwait(false);
            await up.ConfigureAwait(false);
        }
    }

    private async Task UpAsync(IAsyncStreamReader<ClientMessage> from, IClientStreamWriter<ClientMessage> to, FaultLine<ClientMessage> line, CancellationToken stop)
    {
        try
        {
            await PassAsync(from, to, line, static m => m.BodyCase is ClientMessage.BodyOneofCase.Open or ClientMessage.BodyOneofCase.Resume or ClientMessage.BodyOneofCase.Close, stop).ConfigureAwait(false);
            await to.CompleteAsync().ConfigureAwait(false);
        }
        catch (Exception e) when (e is RpcException or OperationCanceledException or InvalidOperationException or IOException)
        {
            // The server has ended the call: the other direction says how.
        }
    }

    private async Task PassAsync<T>(IAsyncStreamReader<T> from, IAsyncStreamWriter<T> to, FaultLine<T> line, Func<T, bool> untouched, CancellationToken stop)
        where T : class
    {
        try
        {
            Task<bool> next = from.MoveNext(stop);
            while (true)
            {
                if (line.Holds && await Task.WhenAny(next, Task.Delay(CallFaultProxy.Held, stop)).ConfigureAwait(false) != next)
                {
                    await WriteAsync(to, line.Release(), stop).ConfigureAwait(false);
                }

                if (!await next.ConfigureAwait(false))
                {
                    await WriteAsync(to, line.Release(), stop).ConfigureAwait(false);
                    return;
                }

                T message = from.Current;
                await WriteAsync(to, untouched(message) ? [.. line.Release(), message] : line.Pass(message), stop).ConfigureAwait(false);
                next = from.MoveNext(stop);
            }
        }
        finally
        {
            Interlocked.Add(ref _lost, line.Lost);
            Interlocked.Add(ref _repeated, line.Repeated);
            Interlocked.Add(ref _reordered, line.Reordered);
        }
    }

    private static async Task WriteAsync<T>(IAsyncStreamWriter<T> to, IReadOnlyList<T> messages, CancellationToken stop)
    {
        foreach (T message in messages)
        {
            await to.WriteAsync(message, stop).ConfigureAwait(false);
        }
    }
}

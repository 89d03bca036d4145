using Grpc.Core;
using Grpc.Net.Client;
using LowLevelSpec.Remote.Protocol;
using LowLevelSpec.Remote.Server;

namespace LowLevelSpec.Remote.Tests.Hostile;

/// <summary>A client that says whatever it likes.</summary>
internal sealed class RawClient : IAsyncDisposable
{
    private readonly GrpcChannel _channel;
    private readonly AsyncDuplexStreamingCall<ClientMessage, ServerMessage> _call;

    public RawClient(TargetServer server, string? apiKey = null)
    {
        _channel = GrpcChannel.ForAddress(server.Address, new GrpcChannelOptions { MaxSendMessageSize = null });
        Metadata headers = [];
        if (apiKey is not null)
        {
            headers.Add("authorization", $"Bearer {apiKey}");
        }

        _call = new Protocol.Target.TargetClient(_channel).Session(headers);
    }

    /// <summary>A correct Open for the tiny pair.</summary>
    public static Open GoodOpen(Drafting drafting = Drafting.None) => new()
    {
        ProtocolVersion = ProtocolVersion.Current,
        Identity = new Identity
        {
            Target = Loopback.Instance.Served.Identity.Target,
            Tokenizer = Loopback.Instance.Served.Identity.Tokenizer,
            Drafter = Loopback.Instance.Served.Identity.Drafter,
        },
        Drafting = drafting,
        Encodings = { Encoding.Int8 },
    };

    /// <summary>A correct Start.</summary>
    public static Start GoodStart(ulong id = 1) => new() { RequestId = id, MaxTokens = 64, Tokens = { 10, 11, 12 } };

    public Task SendAsync(ClientMessage message) => _call.RequestStream.WriteAsync(message).WaitAsync(Patience.Longest);

    public Task SendAsync(Start start) => SendAsync(new ClientMessage { Start = start });

    public Task SendAsync(Verify verify) => SendAsync(new ClientMessage { Verify = verify });

    public Task SendAsync(Write write) => SendAsync(new ClientMessage { Write = write });

    /// <summary>The next message.</summary>
    public async Task<ServerMessage> ReceiveAsync() => await _call.ResponseStream.MoveNext(default).WaitAsync(Patience.Longest)
        ? _call.ResponseStream.Current
        : throw new InvalidOperationException("the stream has ended well");

    /// <summary>Opens a session.</summary>
    public async Task<Opened> OpenAsync()
    {
        await SendAsync(new ClientMessage { Open = GoodOpen() });
        return (await ReceiveAsync()).Opened;
    }

    /// <summary>Opens a session and starts a text; returns the answer.</summary>
    public async Task<Result> StartAsync()
    {
        await OpenAsync();
        await SendAsync(GoodStart());
        return (await ReceiveAsync()).Result;
    }

    /// <summary>The status with which the server ends the stream; whatever it says before is passed over.</summary>
    public async Task<Status> EndAsync()
    {
        try
        {
            while (await _call.ResponseStream.MoveNext(default).WaitAsync(Patience.Longest))
            {
            }

            return _call.GetStatus();
        }
        catch (RpcException e)
        {
            return e.Status;
        }
    }

    public ValueTask DisposeAsync()
    {
        _call.Dispose();
        _channel.Dispose();
        return ValueTask.CompletedTask;
    }
}

using System.Diagnostics;
using System.Security.Cryptography.X509Certificates;
using Google.Protobuf;
using Grpc.Net.Client;
using LowLevelSpec.Models;
using LowLevelSpec.Remote.Protocol;
using Polly;
using Polly.Retry;
using Encoding = LowLevelSpec.Remote.Protocol.Encoding;

namespace LowLevelSpec.Remote.Client;

/// <summary>How a session came back.</summary>
internal enum Reunion
{
    /// <summary>A new session: it knows nothing yet.</summary>
    New,

    /// <summary>The same session goes on.</summary>
    Resumed,
}

/// <summary>One session over as many streams as it takes. Only <see cref="ReconnectAsync"/> may run while the owner does something else.</summary>
internal sealed class RemoteConnection : IAsyncDisposable
{
    private readonly ClientModel _model;
    private readonly RemoteOptions _options;
    private readonly Drafting _drafting;
    private readonly SocketsHttpHandler _handler;
    private readonly GrpcChannel _channel;
    private readonly Protocol.Target.TargetClient _client;
    private readonly ResiliencePipeline _attempts;
    private ServerLink? _link;
    private long _attemptsSince;
    private TimeSpan _patienceWithNobody;
    private ByteString? _resumeToken;

    public RemoteConnection(ClientModel model, RemoteOptions options, Drafting drafting)
    {
        (_model, _options, _drafting) = (model, options, drafting);
        if (options.Server is not { Scheme: "http" or "https" })
        {
            throw new InputException($"server address: found '{options.Server}', expected http://host:port or https://host:port");
        }

        _handler = new SocketsHttpHandler { ConnectTimeout = options.ConnectTimeout, EnableMultipleHttp2Connections = true };
        if (options.CertificateFingerprint is string fingerprint)
        {
            string expected = fingerprint.Replace(":", "", StringComparison.Ordinal);
            _handler.SslOptions.RemoteCertificateValidationCallback = (_, certificate, _, _) =>
                certificate is X509Certificate2 found && found.GetCertHashString(System.Security.Cryptography.HashAlgorithmName.SHA256).Equals(expected, StringComparison.OrdinalIgnoreCase);
        }

        _channel = GrpcChannel.ForAddress(options.Server, new GrpcChannelOptions { HttpHandler = _handler, MaxReceiveMessageSize = 64 << 20, DisposeHttpClient = true });
        _client = new Protocol.Target.TargetClient(_channel);
        _attempts = new ResiliencePipelineBuilder().AddRetry(new RetryStrategyOptions
        {
            ShouldHandle = new PredicateBuilder().Handle<LinkLostException>(e => !((e.NobodyThere || e.Stranger is not null) && Stopwatch.GetElapsedTime(_attemptsSince) > _patienceWithNobody)),
            MaxRetryAttempts = int.MaxValue,
            BackoffType = DelayBackoffType.Exponential,
            UseJitter = true,
            Delay = options.Backoff,
            MaxDelay = options.MaxBackoff,
        }).Build();
    }

    /// <summary>Bytes over all streams.</summary>
    public ByteCounter Bytes { get; } = new();

    /// <summary>The coding of state that was agreed.</summary>
    public Encoding Encoding { get; private set; }

    /// <summary>What the server allows.</summary>
    public Limits Limits { get; private set; } = new();

    /// <summary>The present stream.</summary>
    /// <exception cref="LinkLostException">There is none.</exception>
    public ServerLink Link => _link ?? throw new LinkLostException("there is no stream to the server");

    /// <summary>Opens a session or takes the present one up again; tries, with growing pauses, until it works, the server refuses or time is up.</summary>
    /// <param name="patience">How long to try.</param>
    /// <param name="patienceWithNobody">How long to try where nobody, or something else, listens at the address.</param>
    /// <param name="cancellation">Ends the attempts.</param>
    /// <exception cref="LinkLostException">Not reached in this time.</exception>
    /// <exception cref="InputException">The server refuses this client.</exception>
    public async Task<Reunion> ReconnectAsync(TimeSpan patience, TimeSpan patienceWithNobody, CancellationToken cancellation)
    {
        await DropAsync().ConfigureAwait(false);
        (_attemptsSince, _patienceWithNobody) = (Stopwatch.GetTimestamp(), patienceWithNobody);
        using CancellationTokenSource time = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        time.CancelAfter(patience);
        LinkLostException? last = null;
        try
        {
            return await _attempts.ExecuteAsync(async token =>
            {
                try
                {
                    return await ConnectAsync(token).ConfigureAwait(false);
                }
                catch (LinkLostException e)
                {
                    last = e;
                    throw;
                }
            }, time.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (e is LinkLostException || (e is OperationCanceledException && !cancellation.IsCancellationRequested))
        {
            string reason = last is null ? "no answer" : last.NobodyThere ? "nobody listens there" : last.Stranger ?? last.Message;
            throw new LinkLostException(
                last?.Stranger is null ? $"server {_options.Authority} can't be reached ({reason}): check address and network" : $"server {_options.Authority}: {reason}", e);
        }
    }

    /// <summary>Drops the stream; the session stays.</summary>
    public async ValueTask DropAsync()
    {
        if (_link is not null)
        {
            await _link.DisposeAsync().ConfigureAwait(false);
            _link = null;
        }
    }

    /// <summary>Forgets the session: the next stream opens a new one.</summary>
    public void ForgetSession() => _resumeToken = null;

    /// <summary>Ends the session.</summary>
    public async Task CloseAsync()
    {
        if (_link is not null)
        {
            await _link.CloseAsync(TimeSpan.FromSeconds(1)).ConfigureAwait(false);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await DropAsync().ConfigureAwait(false);
        _channel.Dispose();
        _handler.Dispose();
    }

    private async Task<Reunion> ConnectAsync(CancellationToken cancellation)
    {
        if (_resumeToken is not null)
        {
            try
            {
                ClientMessage resume = new() { Resume = new Resume { ProtocolVersion = ProtocolVersion.Current, ResumeToken = _resumeToken } };
                (_link, ServerMessage back) = await ServerLink.ConnectAsync(_client, _options, resume, Bytes, cancellation).ConfigureAwait(false);
                return back.Resumed is not null ? Reunion.Resumed : throw Strange(back);
            }
            catch (SessionGoneException)
            {
                _resumeToken = null;
            }
        }

        ModelIdentity identity = _model.Identity;
        Open open = new()
        {
            ProtocolVersion = ProtocolVersion.Current,
            Drafting = _drafting,
            Identity = new Identity { Target = identity.Target, Tokenizer = identity.Tokenizer, Drafter = identity.Drafter },
        };
        open.Encodings.Add(_options.Encodings.Select(static encoding => (Encoding)encoding));
        (_link, ServerMessage answer) = await ServerLink.ConnectAsync(_client, _options, new ClientMessage { Open = open }, Bytes, cancellation).ConfigureAwait(false);
        Opened opened = answer.Opened ?? throw Strange(answer);
        (_resumeToken, Encoding, Limits) = (opened.ResumeToken, opened.Encoding, opened.Limits);
        return Reunion.New;
    }

    private InputException Strange(ServerMessage answer) =>
        new($"server {_options.Authority}: answered {answer.BodyCase} to the first message; client and server do not fit together");
}

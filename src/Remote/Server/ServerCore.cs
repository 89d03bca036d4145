using System.Security.Cryptography;
using System.Text;
using Grpc.Core;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Remote.Protocol;
using Encoding = LowLevelSpec.Remote.Protocol.Encoding;

namespace LowLevelSpec.Remote.Server;

/// <summary>What all streams of a server share: model, accounts, sessions, scheduler.</summary>
internal sealed class ServerCore : IDisposable
{
    private static readonly Encoding[] Encodings = [Encoding.F32, Encoding.Bf16, Encoding.Int8];

    private readonly ServedModel _served;
    private readonly Dictionary<string, ClientAccount> _accounts = [];
    private readonly ClientAccount? _anyone;
    private readonly CancellationTokenSource _stopping = new();

    public ServerCore(ServedModel served, ServerOptions options)
    {
        (_served, Options) = (served, options);
        Log = options.Log ?? (static _ => { });
        Sessions = new SessionTable(options.KvBudgetBytes, options.Grace);
        Metrics = new ServerMetrics(Sessions, () => Scheduler?.Waiting ?? 0);
        Scheduler = new PassScheduler(served, options, Sessions, Metrics, Log);
        Requests = new SessionRequests(served, Scheduler, Metrics, Scheduler.StateSize);
        int context = served.Model.ContextLength;
        foreach (ApiKey key in options.ApiKeys)
        {
            _accounts.Add(Convert.ToHexString(key.Hash), new ClientAccount(key.Name, key.Limits, context));
        }

        _anyone = options.ApiKeys.Count > 0 ? null : new ClientAccount("anyone", options.DefaultLimits, context);
    }

    public ServerOptions Options { get; }

    public Action<string> Log { get; }

    public SessionTable Sessions { get; }

    public ServerMetrics Metrics { get; }

    public PassScheduler Scheduler { get; }

    public SessionRequests Requests { get; }

    /// <summary>Cancelled when the server stops: streams end.</summary>
    public CancellationToken Stopping => _stopping.Token;

    /// <summary>Whether new sessions are refused.</summary>
    public bool Draining { get; private set; }

    /// <summary>Whose call it is.</summary>
    /// <exception cref="RpcException">No key, or an unknown one.</exception>
    public ClientAccount Authenticate(ServerCallContext context)
    {
        if (_anyone is not null)
        {
            return _anyone;
        }

        const string Scheme = "Bearer ";
        string given = context.RequestHeaders.GetValue("authorization") ?? "";
        if (given.StartsWith(Scheme, StringComparison.Ordinal))
        {
            // Looked up by hash: how long it takes says nothing about the secret.
            string hash = Convert.ToHexString(SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(given[Scheme.Length..])));
            if (_accounts.TryGetValue(hash, out ClientAccount? account))
            {
                return account;
            }
        }

        Metrics.Refused("key");
        throw new RpcException(new Status(StatusCode.Unauthenticated, given.Length == 0 ? "no API key; send one" : "unknown API key; check it"));
    }

    public ServerInfo Info(ClientAccount account)
    {
        ServerInfo info = new() { ProtocolVersion = ProtocolVersion.Current, Identity = Identity(), Limits = Limits(account), Model = _served.Name };
        info.Drafting.Add([Drafting.None, Drafting.Eagle]);
        if (_served.Moa is not null)
        {
            info.Drafting.Add(Drafting.Moa);
        }

        info.Encodings.Add(Encodings);
        return info;
    }

    public Limits Limits(ClientAccount account) => new()
    {
        MaxMessageBytes = (uint)account.Limits.MessageBytes,
        MaxTokens = (uint)account.MaxTokens,
        MaxTreeNodes = DraftTree.MaxNodes - 1,
        GraceMs = (uint)Options.Grace.TotalMilliseconds,
        IdleMs = (uint)Options.IdleTimeout.TotalMilliseconds,
    };

    /// <summary>Opens a session.</summary>
    /// <exception cref="RpcException">Another protocol, other model files, an unknown drafting or encoding, too many sessions, or the server drains.</exception>
    public TargetSession Open(ClientAccount account, Open open)
    {
        CheckVersion(open.ProtocolVersion);
        if (Draining)
        {
            throw Refused(StatusCode.Unavailable, "draining", "the server is about to stop and takes no new sessions; try again later or elsewhere");
        }

        if (open.Drafting is not (Drafting.None or Drafting.Moa or Drafting.Eagle))
        {
            throw Refused(StatusCode.InvalidArgument, "protocol", $"found drafting {open.Drafting}, expected none, moa or eagle");
        }

        if (open.Drafting == Drafting.Moa && _served.Moa is null)
        {
            throw Refused(StatusCode.FailedPrecondition, "drafting", "the server was started without a Mixture-of-Attentions drafter; start it with --drafter, or draft otherwise");
        }

        ModelIdentity client = new(open.Identity?.Target ?? "", open.Identity?.Tokenizer ?? "", open.Identity?.Drafter ?? "");
        if (client.Difference(_served.Identity, open.Drafting == Drafting.Moa) is string difference)
        {
            throw Refused(StatusCode.FailedPrecondition, "identity", difference);
        }

        Encoding encoding = open.Encodings.FirstOrDefault(wanted => Encodings.Contains(wanted));
        if (encoding == Encoding.Unspecified && open.Drafting != Drafting.None)
        {
            throw Refused(StatusCode.FailedPrecondition, "encoding", $"found none of the encodings {string.Join(", ", Encodings)} in the client's list, expected at least one");
        }

        TargetSession? session = Sessions.TryOpen(account, open.Drafting, encoding);
        if (session is null)
        {
            throw Refused(StatusCode.ResourceExhausted, "sessions", $"the key has its {account.Limits.Sessions} sessions open already; close one");
        }

        Metrics.Opened();
        return session;
    }

    /// <exception cref="RpcException">Another version.</exception>
    public void CheckVersion(uint version)
    {
        if (version != ProtocolVersion.Current)
        {
            throw Refused(StatusCode.FailedPrecondition, "version", $"found protocol version {version}, expected {ProtocolVersion.Current}; use client and server of the same release");
        }
    }

    /// <summary>Refuses new sessions from now on and tells the present ones.</summary>
    public void BeginDrain(TimeSpan remaining)
    {
        Draining = true;
        foreach (TargetSession session in Sessions.All())
        {
            session.Tell(new ServerMessage { Draining = new Draining { RemainingMs = (uint)remaining.TotalMilliseconds } });
        }
    }

    /// <summary>Ends all streams.</summary>
    public void Stop()
    {
        Draining = true;
        _stopping.Cancel();
    }

    public void Dispose()
    {
        _stopping.Cancel();
        Scheduler.Dispose();
        foreach (TargetSession session in Sessions.All())
        {
            Sessions.Close(session);
            session.End(new Ending(null, Answered: false));
            Sessions.Release(session);
        }

        Metrics.Dispose();
        _anyone?.Dispose();
        foreach (ClientAccount account in _accounts.Values)
        {
            account.Dispose();
        }

        _stopping.Dispose();
    }

    private Identity Identity() => new() { Target = _served.Identity.Target, Tokenizer = _served.Identity.Tokenizer, Drafter = _served.Identity.Drafter };

    private RpcException Refused(StatusCode code, string reason, string message)
    {
        Metrics.Refused(reason);
        return new RpcException(new Status(code, message));
    }
}

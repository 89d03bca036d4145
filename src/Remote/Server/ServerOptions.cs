using System.Security.Cryptography.X509Certificates;
using LowLevelSpec.Models;

namespace LowLevelSpec.Remote.Server;

/// <summary>How a <see cref="TargetServer"/> is run.</summary>
public sealed record ServerOptions
{
    /// <summary>Address to listen on: "127.0.0.1:7071", "[::1]:7071", "0.0.0.0:7071"; port 0 takes a free one.</summary>
    public string Listen { get; init; } = "127.0.0.1:0";

    /// <summary>Certificate with its private key; null = no TLS.</summary>
    public X509Certificate2? Certificate { get; init; }

    /// <summary>Who may connect; empty = anyone, within <see cref="DefaultLimits"/>.</summary>
    public IReadOnlyList<ApiKey> ApiKeys { get; init; } = [];

    /// <summary>Limits of a client where its key sets none.</summary>
    public KeyLimits DefaultLimits { get; init; } = new();

    /// <summary>Bytes of keys and values that all sessions may hold together; beyond it idle sessions are evicted and rebuilt when they return.</summary>
    public long KvBudgetBytes { get; init; } = 2L << 30;

    /// <summary>Most rows of one target pass, all sessions together; at least 64 (one draft tree).</summary>
    public int MaxPassRows { get; init; } = 256;

    /// <summary>How long a session survives without a stream.</summary>
    public TimeSpan Grace { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>A stream on which nothing is heard, or that takes nothing, for this long is dropped; its session goes into grace.</summary>
    public TimeSpan IdleTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Least time of a target pass: a real one that is faster is held back. For measuring; zero in service.</summary>
    public TimeSpan PassTime { get; init; }

    /// <summary>Address of a plain HTTP/1 listener for /metrics and /healthz; null = none.</summary>
    public string? MetricsListen { get; init; }

    /// <summary>Told one line per event (sessions, refusals, drain); null = silence.</summary>
    public Action<string>? Log { get; init; }
}

/// <summary>What one API key may ask for.</summary>
public sealed record KeyLimits
{
    /// <summary>Sessions at a time, those in grace included.</summary>
    public int Sessions { get; init; } = 256;

    /// <summary>Tokens of one session, prompt included; 0 = the model's context.</summary>
    public int Tokens { get; init; }

    /// <summary>Tokens (prompt tokens run, tree nodes verified, tokens written) per minute; 0 = no limit.</summary>
    public int TokensPerMinute { get; init; }

    /// <summary>Messages per second on average, with bursts of twice as many; 0 = no limit.</summary>
    public int MessagesPerSecond { get; init; } = 2000;

    /// <summary>Bytes of one message.</summary>
    public int MessageBytes { get; init; } = 1 << 20;

    internal void Validate(string owner)
    {
        Check(Sessions, 1, "sessions");
        Check(Tokens, 0, "tokens");
        Check(TokensPerMinute, 0, "tokens-per-minute");
        Check(MessagesPerSecond, 0, "messages-per-second");
        Check(MessageBytes, 1024, "message-bytes");

        void Check(int value, int low, string name)
        {
            if (value < low)
            {
                throw new InputException($"{owner}: limit {name}: found {value}, expected at least {low}");
            }
        }
    }
}

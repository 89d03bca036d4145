using LowLevelSpec.Remote.Protocol;

namespace LowLevelSpec.Remote.Client;

/// <summary>How verified state travels. Coarser codings change what the drafter sees, never the text.</summary>
public enum StateEncoding
{
    /// <summary>4 bytes per value.</summary>
    F32 = Encoding.F32,

    /// <summary>2 bytes per value.</summary>
    Bf16 = Encoding.Bf16,

    /// <summary>1 byte per value and a 2-byte scale per head.</summary>
    Int8 = Encoding.Int8,
}

/// <summary>What becomes of text written while the server was out of reach.</summary>
public enum OnReconnect
{
    /// <summary>The target verifies it; from the first difference on it is rolled back. The text ends up equal to local plain greedy decoding.</summary>
    Verify,

    /// <summary>It stays, unverified, and the target continues it.</summary>
    Keep,
}

/// <summary>How tokens are won from the server.</summary>
public enum RemoteMethod
{
    /// <summary>The client drafts trees, the server verifies them.</summary>
    Speculative,

    /// <summary>One call per token, no drafting.</summary>
    PerCall,

    /// <summary>One call for the whole answer; the server streams tokens as it decodes plainly.</summary>
    Streamed,

    /// <summary>No server: the drafter writes alone, every token unverified.</summary>
    DrafterOnly,
}

/// <summary>How a client reaches its server.</summary>
public sealed record RemoteOptions
{
    /// <summary>"http://host:port" (no TLS) or "https://host:port"; null only where the drafter writes alone.</summary>
    public Uri? Server { get; init; }

    /// <summary>Sent with every call; null = none.</summary>
    public string? ApiKey { get; init; }

    /// <summary>SHA-256 fingerprint (hexadecimal) of the one certificate to trust; null = the system's authorities decide.</summary>
    public string? CertificateFingerprint { get; init; }

    /// <summary>Codings of verified state in order of preference; the server takes the first it knows.</summary>
    public IReadOnlyList<StateEncoding> Encodings { get; init; } = [StateEncoding.Int8, StateEncoding.Bf16];

    /// <summary>What becomes of text written while the server was out of reach.</summary>
    public OnReconnect OnReconnect { get; init; }

    /// <summary>
    /// Wait for an answer after which the link counts as cut at the next look. A link over which nothing at all is heard, an answer to a heartbeat neither, counts so sooner: after ten times the expected time,
    /// at least one second. A prompt is always given the whole.
    /// </summary>
    public TimeSpan AnswerDeadline { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Longest wait for the answer to a new stream. A generation that can't begin is given up after twice as long, or after two seconds where nobody or something else listens.</summary>
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Silence after which a heartbeat is sent.</summary>
    public TimeSpan Heartbeat { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>First pause between attempts to reconnect; doubles, with jitter, up to <see cref="MaxBackoff"/>.</summary>
    public TimeSpan Backoff { get; init; } = TimeSpan.FromMilliseconds(50);

    /// <summary>Longest pause between attempts.</summary>
    public TimeSpan MaxBackoff { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How long after its loss a server is tried for, while text is written alone, too; then the generation ends with <see cref="Engine.Decoding.FinishReason.Length"/>, its tail unverified.</summary>
    public TimeSpan GiveUpAfter { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>How long a lost stream may take to come back before text is written without it.</summary>
    public TimeSpan WriteAloneAfter { get; init; } = TimeSpan.FromMilliseconds(250);

    /// <summary>Most tokens written without the server before the client waits for it; 0 = none.</summary>
    public int MaxUnverified { get; init; } = 128;

    /// <summary>Whether depth follows confidence, round trip and pass time; otherwise every tree has the request's full shape.</summary>
    public bool Adaptive { get; init; } = true;

    /// <summary>Host and port, for messages.</summary>
    internal string Authority => Server?.Authority ?? "none";

    /// <summary>Tests: asked before each message is sent; true loses it.</summary>
    internal Func<ClientMessage, bool>? Faults { get; init; }
}

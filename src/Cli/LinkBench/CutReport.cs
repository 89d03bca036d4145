namespace LowLevelSpec.Cli.LinkBench;

/// <summary>How a link was cut.</summary>
internal enum CutForm
{
    /// <summary>Connections reset at a byte of either direction.</summary>
    ResetAtByte,

    /// <summary>Connections reset at a moment.</summary>
    ResetAtMoment,

    /// <summary>Connections reset, and no new ones for a while.</summary>
    Away,

    /// <summary>Nothing comes through, nobody is told, and then everything comes late.</summary>
    Silence,

    /// <summary>As silence, in one direction.</summary>
    SilenceOneWay,

    /// <summary>A silence longer than a client waits, then a reset.</summary>
    LongSilence,

    /// <summary>The server is killed, its sessions with it, and started again on its port.</summary>
    ServerRestart,
}

/// <summary>An answer that came out wrong.</summary>
/// <param name="Prompt">Place among the prompts, 0 = first.</param>
/// <param name="Cuts">Cuts during it.</param>
/// <param name="Reason">What is wrong.</param>
internal sealed record CutFailure(int Prompt, IReadOnlyList<CutForm> Cuts, string Reason);

/// <summary>What <c>llspec link-bench --cuts</c> reports.</summary>
internal sealed record CutReport
{
    public required string Model { get; init; }

    public required string? Drafter { get; init; }

    public required string Profile { get; init; }

    public required int Seed { get; init; }

    /// <summary>Cuts whose answer has every token of local plain decoding, none lost, repeated or wrong.</summary>
    public required int Passed { get; init; }

    /// <summary>Cuts of answers that came out wrong.</summary>
    public required int Failed { get; init; }

    public required IReadOnlyDictionary<string, int> CutsByForm { get; init; }

    /// <summary>Answers written, and tokens in them.</summary>
    public required int Answers { get; init; }

    public required long Tokens { get; init; }

    public required double Seconds { get; init; }

    public required int Reconnects { get; init; }

    /// <summary>Reconnects after which the server no longer knew the session.</summary>
    public required int Rebuilds { get; init; }

    /// <summary>Tokens written alone, and of these taken back.</summary>
    public required int WrittenAlone { get; init; }

    public required int RolledBack { get; init; }

    /// <summary>From a reconnection to the next verified token.</summary>
    public required double? ReconnectP50Ms { get; init; }

    public required double? ReconnectP95Ms { get; init; }

    public required double? ReconnectMaxMs { get; init; }

    /// <summary>Sessions and key/value bytes still held after all clients had closed and the grace time was over.</summary>
    public required int SessionsLeft { get; init; }

    public required long KvBytesLeft { get; init; }

    public required IReadOnlyList<CutFailure> Failures { get; init; }
}

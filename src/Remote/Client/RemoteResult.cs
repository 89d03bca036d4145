using LowLevelSpec.Engine.Decoding;

namespace LowLevelSpec.Remote.Client;

/// <summary>Figures of one remote generation.</summary>
public sealed record RemoteStatistics
{
    /// <summary>Tokens of the prompt.</summary>
    public int PromptTokens { get; init; }

    /// <summary>New tokens.</summary>
    public int NewTokens { get; init; }

    /// <summary>Requests sent after Start, repeats not counted: Verify and Write.</summary>
    public int Calls { get; init; }

    /// <summary>Target passes that verified for this session after the prompt's.</summary>
    public int TargetPasses { get; init; }

    /// <summary>Tokens committed per target pass, the first token excluded; 0 where there was no pass.</summary>
    public double Tau => TargetPasses == 0 ? 0 : (NewTokens - 1) / (double)TargetPasses;

    /// <summary>Draft nodes sent.</summary>
    public long DraftedNodes { get; init; }

    /// <summary>Bytes sent after the Start message: protocol messages with their 5-byte gRPC frames, without HTTP/2 and TLS.</summary>
    public long BytesUp { get; init; }

    /// <summary>Bytes received after the first token, counted likewise.</summary>
    public long BytesDown { get; init; }

    /// <summary>Tokens whose state is among these received bytes. The last answer's is not needed and not sent.</summary>
    public int StateTokens { get; init; }

    /// <summary>Bytes sent and received up to the first token.</summary>
    public long PromptBytes { get; init; }

    /// <summary>From the start of the generation to its first token, connecting included.</summary>
    public double SecondsToFirstToken { get; init; }

    /// <summary>From the first token to the end.</summary>
    public double SecondsAfterFirstToken { get; init; }

    /// <summary>Of these, drafting on the way of the call (not while one was in flight).</summary>
    public double DraftSeconds { get; init; }

    /// <summary>Of these, waiting for answers.</summary>
    public double WaitSeconds { get; init; }

    /// <summary>Mean time of the target's passes as the server says, milliseconds.</summary>
    public double PassMilliseconds { get; init; }

    /// <summary>Smoothed round trip without queue and pass, milliseconds.</summary>
    public double RoundTripMilliseconds { get; init; }

    /// <summary>Streams lost and taken up again.</summary>
    public int Reconnects { get; init; }

    /// <summary>Reconnects that had to rebuild the session.</summary>
    public int Rebuilds { get; init; }

    /// <summary>From each reconnection to the next verified token, seconds.</summary>
    public IReadOnlyList<double> ReconnectSeconds { get; init; } = [];

    /// <summary>Tokens written alone, rolled-back ones included.</summary>
    public int WrittenAlone { get; init; }

    /// <summary>Tokens taken back.</summary>
    public int RolledBack { get; init; }

    /// <summary>Tokens drafted while a call was in flight that its answer left valid.</summary>
    public int KeptAhead { get; init; }
}

/// <summary>A finished remote generation.</summary>
/// <param name="PromptIds">The prompt as the target read it.</param>
/// <param name="OutputIds">New tokens, an end token included where one was written.</param>
/// <param name="Verified">How many of them, from the first, the target chose or confirmed (all, unless the link was lost or unverified text kept).</param>
/// <param name="Text">Text of the output without control tokens; null where the model has no tokenizer.</param>
/// <param name="FinishReason">Why it ended.</param>
/// <param name="Statistics">Figures.</param>
public sealed record RemoteResult(
    IReadOnlyList<int> PromptIds, IReadOnlyList<int> OutputIds, int Verified, string? Text, FinishReason FinishReason, RemoteStatistics Statistics);

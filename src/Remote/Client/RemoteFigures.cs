using System.Diagnostics;
using LowLevelSpec.Remote.Protocol;

namespace LowLevelSpec.Remote.Client;

/// <summary>Running figures of one remote generation.</summary>
internal sealed class RemoteFigures(int promptTokens)
{
    private readonly long _start = Stopwatch.GetTimestamp();
    private readonly List<double> _reconnectSeconds = [];
    private long _firstToken, _lastToken, _promptUp, _promptDown, _reconnectedAt;
    private int _passes, _reconnects, _rebuilds;
    private double _passSeconds;

    /// <summary>Calls after Start.</summary>
    public int Calls { get; set; }

    /// <summary>Nodes sent.</summary>
    public long Drafted { get; set; }

    /// <summary>Seconds of waiting.</summary>
    public double WaitSeconds { get; set; }

    /// <summary>Tokens whose states came with answers after the prompt's.</summary>
    public int StateTokens { get; set; }

    /// <summary>Where the states received with prompts end: they stay valid, whatever session they came from.</summary>
    public int StateEnd { get; set; }

    public void Answer(Result result, bool start)
    {
        _lastToken = Stopwatch.GetTimestamp();
        if (_reconnectedAt != 0)
        {
            _reconnectSeconds.Add(Stopwatch.GetElapsedTime(_reconnectedAt).TotalSeconds);
            _reconnectedAt = 0;
        }

        if (!start)
        {
            _passes++;
            _passSeconds += result.PassUs / 1e6;
        }
    }

    /// <summary>Notes the first token and the bytes it took.</summary>
    public void FirstToken(ByteCounter bytes)
    {
        if (_firstToken == 0)
        {
            _firstToken = Stopwatch.GetTimestamp();
            (_promptUp, _promptDown) = (bytes.Up, bytes.Down);
        }
    }

    /// <summary>A stream is back.</summary>
    /// <param name="rebuilt">Whether the session is a new one.</param>
    public void Reconnected(bool rebuilt)
    {
        _reconnects++;
        _rebuilds += rebuilt ? 1 : 0;
        _reconnectedAt = Stopwatch.GetTimestamp();
    }

    public RemoteStatistics Statistics(int newTokens, RemoteText text, RemoteDrafting? drafting, CallPlanner planner, ByteCounter bytes) => new()
    {
        PromptTokens = promptTokens,
        NewTokens = newTokens,
        Calls = Calls,
        TargetPasses = _passes,
        DraftedNodes = Drafted,
        BytesUp = bytes.Up - _promptUp,
        BytesDown = bytes.Down - _promptDown,
        StateTokens = StateTokens,
        PromptBytes = _promptUp + _promptDown,
        SecondsToFirstToken = _firstToken == 0 ? 0 : Stopwatch.GetElapsedTime(_start, _firstToken).TotalSeconds,
        SecondsAfterFirstToken = _firstToken == 0 ? 0 : Stopwatch.GetElapsedTime(_firstToken, Math.Max(_firstToken, _lastToken)).TotalSeconds,
        DraftSeconds = drafting?.Seconds ?? 0,
        WaitSeconds = WaitSeconds,
        PassMilliseconds = _passes == 0 ? 0 : 1000 * _passSeconds / _passes,
        RoundTripMilliseconds = planner.RoundTrip,
        Reconnects = _reconnects,
        Rebuilds = _rebuilds,
        ReconnectSeconds = _reconnectSeconds,
        WrittenAlone = text.WrittenAlone,
        RolledBack = text.RolledBack,
        KeptAhead = text.KeptAhead,
    };
}

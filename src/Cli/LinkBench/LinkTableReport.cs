using System.Text.Json.Serialization;
using LowLevelSpec.Cli.Output;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Models;
using LowLevelSpec.Remote.Client;
using LowLevelSpec.Remote.Links;

namespace LowLevelSpec.Cli.LinkBench;

/// <summary>One answer over a link.</summary>
/// <param name="Identical">Whether its tokens equal local plain decoding, all verified, and the stream said the same.</param>
/// <param name="Statistics">Figures.</param>
internal sealed record LinkAnswer(bool Identical, RemoteStatistics Statistics);

/// <summary>One method over one profile: all answers pooled, so that long ones weigh more.</summary>
internal sealed class LinkRow(string profile, BenchMethod method, IReadOnlyList<LinkAnswer> answers)
{
    private readonly RemoteStatistics[] _all = [.. answers.Select(static a => a.Statistics)];

    public string Profile => profile;

    public BenchMethod Method => method;

    public int Prompts => answers.Count;

    public int Identical => answers.Count(static a => a.Identical);

    /// <summary>New tokens after the first of each answer: what the following figures are shared over.</summary>
    public int Tokens => _all.Sum(static s => Math.Max(0, s.NewTokens - 1));

    public double? MsPerToken => Json.Ratio(1000 * _all.Sum(static s => s.SecondsAfterFirstToken), Tokens);

    [JsonPropertyName("calls_per_100_tokens")]
    public double? CallsPer100Tokens => Json.Ratio(100.0 * _all.Sum(static s => s.Calls), Tokens);

    public double? BytesUpPerToken => Json.Ratio(_all.Sum(static s => s.BytesUp), Tokens);

    public double? BytesDownPerToken => Json.Ratio(_all.Sum(static s => s.BytesDown), Tokens);

    /// <summary>Tokens of <see cref="Tokens"/> whose state was sent: all but those of each answer's last call.</summary>
    public int StateTokens => _all.Sum(static s => s.StateTokens);

    /// <summary>Bytes of the prompt's exchange per prompt token, both ways.</summary>
    public double? PromptBytesPerToken => Json.Ratio(_all.Sum(static s => s.PromptBytes), _all.Sum(static s => s.PromptTokens));

    public double? FirstTokenP50Ms => 1000 * Quantiles.Of([.. _all.Select(static s => s.SecondsToFirstToken)], 0.5);

    public double? FirstTokenP95Ms => 1000 * Quantiles.Of([.. _all.Select(static s => s.SecondsToFirstToken)], 0.95);

    /// <summary>Tokens per target pass.</summary>
    public double? Tau => Json.Ratio(Tokens, _all.Sum(static s => s.TargetPasses));

    /// <summary>Drafted tokens sent with a call.</summary>
    public double? NodesPerCall => Json.Ratio(_all.Sum(static s => s.DraftedNodes), _all.Sum(static s => s.Calls));

    /// <summary>Drafting on the way of a call, not hidden behind one in flight.</summary>
    public double? DraftMsPerCall => Json.Ratio(1000 * _all.Sum(static s => s.DraftSeconds), _all.Sum(static s => s.Calls));

    public double? PassMs => Quantiles.Of([.. _all.Select(static s => s.PassMilliseconds)], 0.5);

    public double? RoundTripMs => Quantiles.Of([.. _all.Select(static s => s.RoundTripMilliseconds)], 0.5);

    public int Reconnects => _all.Sum(static s => s.Reconnects);
}

/// <summary>
/// Bytes that a server sends per committed token if the target were an 8B one (Llama-3-8B: 4 CA kv heads of 128): the measured answer less the state of this model's
/// tokens, plus 8B's: 1024 values, as bf16 2048 bytes, as int8 1024 bytes and a 2-byte scale for each of 8 heads (4 keys, 4 values).
/// </summary>
/// <param name="Encoding">Of the state.</param>
/// <param name="StateBytes">State of a token at 8B.</param>
/// <param name="OtherBytesDown">Answers without state, per token, as measured.</param>
/// <param name="BytesUp">Trees, per token, as measured.</param>
internal sealed record ScaledBytes(string Encoding, int StateBytes, double OtherBytesDown, double BytesUp)
{
    private const int Values = 1024, Heads = 8;

    /// <summary>Server to client, the prompt apart.</summary>
    public double BytesDown => StateBytes + OtherBytesDown;

    /// <summary>Both codings, from a measured MoA row.</summary>
    /// <param name="row">The measured row.</param>
    /// <param name="encoding">How its state travelled.</param>
    /// <param name="crossAttention">CA of the measured drafter.</param>
    public static IReadOnlyList<ScaledBytes> From(LinkRow row, StateEncoding encoding, DrafterLayerConfig crossAttention)
    {
        int heads = 2 * crossAttention.KvHeads;
        int head = encoding switch { StateEncoding.F32 => 4 * crossAttention.HeadSize, StateEncoding.Bf16 => 2 * crossAttention.HeadSize, _ => crossAttention.HeadSize + 2 };
        double other = (row.BytesDownPerToken ?? 0) - (heads * head * Json.Ratio(row.StateTokens, row.Tokens) ?? 0);
        return [new("int8", Values + (2 * Heads), other, row.BytesUpPerToken ?? 0), new("bf16", 2 * Values, other, row.BytesUpPerToken ?? 0)];
    }
}

/// <summary>
/// Up to which round trip MoA at the client beats the server's plain stream. A stream costs a pass T a token and no round trip; a call of MoA costs
/// round trip + draft + pass and commits tau tokens, so it wins while round trip is below (tau - 1) T - draft (a pass over the tree taken to cost what a pass over a token costs, which
/// holds where passes are bound by memory).
/// </summary>
/// <param name="PassMs">T.</param>
/// <param name="Tau">Tokens per call, measured.</param>
/// <param name="DraftMs">Draft of a call on the way, measured.</param>
internal sealed record StreamCrossover(double PassMs, double Tau, double DraftMs)
{
    /// <summary>The bound; 0 where the stream always wins.</summary>
    public double RoundTripMs => Math.Max(0, ((Tau - 1) * PassMs) - DraftMs);
}

/// <summary>A link's figures, for the report.</summary>
internal sealed class ProfileFigures(LinkProfile profile)
{
    public string Name => profile.Name;

    public double DelayMs => profile.Delay.TotalMilliseconds;

    public double JitterMs => profile.Jitter.TotalMilliseconds;

    public double UpMbitPerSecond => profile.UpBitsPerSecond / 1e6;

    public double DownMbitPerSecond => profile.DownBitsPerSecond / 1e6;

    public double LossStart => profile.LossStart;

    public double LossLength => profile.LossLength;

    public string Origin => profile.Origin;
}

/// <summary>What <c>llspec link-bench --profile</c> reports.</summary>
internal sealed record LinkTableReport
{
    public required string Model { get; init; }

    public required string? Moa { get; init; }

    public required string? Eagle { get; init; }

    public required string Backend { get; init; }

    public required int Prompts { get; init; }

    public required int MaxNewTokens { get; init; }

    /// <summary>How state travelled.</summary>
    public required StateEncoding Encoding { get; init; }

    /// <summary>Shape of every tree; null where the client adapted each.</summary>
    public required TreeSettings? Tree { get; init; }

    public required double ServerPassMs { get; init; }

    public required CallFaults CallFaults { get; init; }

    /// <summary>Messages lost, repeated and reordered in all.</summary>
    public required CallFaultCounts Faults { get; init; }

    public required IReadOnlyList<ProfileFigures> Profiles { get; init; }

    public required IReadOnlyList<LinkRow> Rows { get; init; }

    [JsonPropertyName("scaled_to_8b")]
    public required IReadOnlyList<ScaledBytes> ScaledTo8b { get; init; }

    public required IReadOnlyList<StreamCrossover> StreamCrossover { get; init; }

    public int Answers => Rows.Sum(static r => r.Prompts);

    public int Identical => Rows.Sum(static r => r.Identical);
}

/// <summary>What a <see cref="CallFaultProxy"/> did.</summary>
internal sealed record CallFaultCounts(int Lost, int Repeated, int Reordered)
{
    public static CallFaultCounts operator +(CallFaultCounts a, CallFaultCounts b) => new(a.Lost + b.Lost, a.Repeated + b.Repeated, a.Reordered + b.Reordered);
}

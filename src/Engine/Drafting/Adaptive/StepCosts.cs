using System.Text.Json.Serialization;

namespace LowLevelSpec.Engine.Drafting.Adaptive;

/// <summary>Seconds of the pieces that a step is made of, as measured on this machine for one target, drafter, number of threads and width.</summary>
internal sealed record StepCosts
{
    /// <summary>Most rows of a verifying pass: a full tree.</summary>
    public const int MaxRows = DraftTree.MaxNodes;

    /// <summary>[k] = a target pass over k rows, the logits of one included; [0] unused. A step function of the backend's row tiles, so it is a table and no formula.</summary>
    public required double[] Pass { get; init; }

    /// <summary>[m] = logits of m rows at once, where the walk computes them on demand; [0] unused, all 0 where passes compute all.</summary>
    public required double[] Logits { get; init; }

    /// <summary>Taking in the one token that a step verified.</summary>
    public required double Observe { get; init; }

    /// <summary>Taking in one of many tokens that the drafter has not followed.</summary>
    public required double CatchUp { get; init; }

    /// <summary>Scoring the root's children.</summary>
    public required double First { get; init; }

    /// <summary>[f] = scoring the children of f nodes; [0] unused. Empty for drafters without a network.</summary>
    public required double[] Level { get; init; }

    /// <summary>Whether the machine was quiet while they were measured, so that they may be kept.</summary>
    [JsonIgnore]
    public bool IsQuiet { get; init; }

    /// <summary>Whether a network drafts, at a cost.</summary>
    public bool HasNetwork => Level.Length > 1;

    /// <summary>Whether every figure is a time and the tables have their lengths: what a file must hold to be believed.</summary>
    public bool IsSound() =>
        Pass is { Length: MaxRows + 1 } && Level is not null && Level.Length <= MaxRows
        && Pass.Skip(1).All(IsTime) && Level.Skip(1).All(IsTime) && Logits is { Length: DraftTree.MostLogitRows + 1 } && Logits.All(IsRest) && IsRest(Observe) && IsRest(CatchUp) && IsRest(First)
        && Pass.Zip(Pass.Skip(1)).All(static pair => pair.First <= pair.Second);

    private static bool IsTime(double seconds) => seconds is > 0 and < 3600;

    private static bool IsRest(double seconds) => seconds is >= 0 and < 3600;
}

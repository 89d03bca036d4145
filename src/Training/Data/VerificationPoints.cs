using LowLevelSpec.Training.Layers;

namespace LowLevelSpec.Training.Data;

/// <summary>The random choices of a MoA training step, one per sequence.</summary>
/// <param name="Every">n of the variable horizon (6..14 in the paper): response positions i with i % n == 0 count as just verified. Null: the horizon is the whole response.</param>
/// <param name="Staircase">Whether the sequence trains SA under the staircase mask. Null: none does.</param>
internal sealed record PracticeChoices(IReadOnlyList<int>? Every, IReadOnlyList<bool>? Staircase)
{
    /// <summary>Fixed horizon, causal mask.</summary>
    public static PracticeChoices Plain { get; } = new(null, null);
}

/// <summary>
/// What a drafter sees of the target while it trains (paper section 3.3, "T-step bounded"; golden README points 14 and 15): each position
/// is drafted as if the target had last verified at start(i).
/// </summary>
internal static class VerificationPoints
{
    /// <summary>
    /// start(i): the last position at or before i that is not of the response, or is one with i % <paramref name="every"/> == 0; 0 if none.
    /// Positions count from the start of the row.
    /// </summary>
    public static int[] Starts(IReadOnlyList<bool> response, int? every)
    {
        int[] starts = new int[response.Count];
        int last = 0;
        for (int i = 0; i < starts.Length; i++)
        {
            if (!response[i] || (every is int n && i % n == 0))
            {
                last = i;
            }

            starts[i] = last;
        }

        return starts;
    }

    /// <summary>Start of every row of a batch, counted in its sequence [n].</summary>
    public static int[] Starts(TrainingBatch batch, PracticeChoices choices) =>
        [.. batch.Sequences.SelectMany((sequence, s) => Starts(sequence.Response, choices.Every?[s]))];

    /// <summary>First key that SA's query i sees: 0 (causal), or under the staircase the position after start(i), itself at the latest. The last is i.</summary>
    public static int SelfAttentionLow(int i, int start, bool staircase) => staircase ? Math.Min(start + 1, i) : 0;

    /// <summary>SA's masks.</summary>
    public static AttentionPlan SelfAttention(TrainingBatch batch, PracticeChoices choices, int[] starts) => AttentionPlan.Of(
        batch.Lengths,
        (s, i) => SelfAttentionLow(i, starts[batch.FirstRow[s] + i], choices.Staircase?[s] ?? false),
        (_, i) => i + 1);

    /// <summary>CA's masks: query i sees the verified states 0..start(i).</summary>
    public static AttentionPlan CrossAttention(TrainingBatch batch, int[] starts) => AttentionPlan.Of(
        batch.Lengths,
        (_, _) => 0,
        (s, i) => starts[batch.FirstRow[s] + i] + 1);
}

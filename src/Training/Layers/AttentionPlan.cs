namespace LowLevelSpec.Training.Layers;

/// <summary>
/// Who sees whom in an attention layer over packed sequences. Every mask of the method (causal, staircase, cross-attention up to the last
/// verification point, all layers of a token) lets a query see one run of keys of its own segment, so a mask is two numbers per row.
/// </summary>
internal sealed class AttentionPlan
{
    /// <param name="segments">Runs of rows that attend among themselves, in order and without gaps: a sequence, or the layers of a token.</param>
    /// <param name="low">First key that each row sees, counted from its segment's first row.</param>
    /// <param name="high">One past the last key that each row sees; not above the segment's length.</param>
    /// <param name="positions">RoPE position of each row, as a query and as a key.</param>
    public AttentionPlan(IReadOnlyList<(int First, int Count)> segments, int[] low, int[] high, int[] positions)
    {
        int next = 0;
        foreach ((int first, int count) in segments)
        {
            if (first != next || count < 0)
            {
                throw new ArgumentException("segments leave gaps or overlap", nameof(segments));
            }

            next = first + count;
            for (int i = first; i < Math.Min(next, high.Length); i++)
            {
                if (low[i] < 0 || high[i] > count)
                {
                    throw new ArgumentException($"row {i} sees keys {low[i]} to {high[i]} of a segment of {count}", nameof(low));
                }
            }
        }

        if (next != low.Length || next != high.Length || next != positions.Length)
        {
            throw new ArgumentException($"{next} rows in segments, but {low.Length}, {high.Length} and {positions.Length} bounds and positions", nameof(segments));
        }

        (Segments, Low, High, Positions) = (segments, low, high, positions);
    }

    /// <summary>Runs of rows that attend among themselves.</summary>
    public IReadOnlyList<(int First, int Count)> Segments { get; }

    /// <summary>First key seen, from the segment's first row.</summary>
    public int[] Low { get; }

    /// <summary>One past the last key seen.</summary>
    public int[] High { get; }

    /// <summary>RoPE positions.</summary>
    public int[] Positions { get; }

    /// <summary>Rows.</summary>
    public int Rows => Positions.Length;

    /// <summary>Causal attention inside sequences of the given lengths, positions from 0.</summary>
    public static AttentionPlan Causal(IEnumerable<int> lengths) => Of(lengths, (_, _) => 0, (_, i) => i + 1);

    /// <summary>Every row sees its whole segment of <paramref name="size"/> rows, positions from 0: LSA over the layers of <paramref name="count"/> tokens.</summary>
    public static AttentionPlan Full(int count, int size) => Of(Enumerable.Repeat(size, count), (_, _) => 0, (_, _) => size);

    /// <summary>Sequences of the given lengths with bounds by (sequence, index in it), positions from 0.</summary>
    public static AttentionPlan Of(IEnumerable<int> lengths, Func<int, int, int> low, Func<int, int, int> high)
    {
        List<(int First, int Count)> segments = [];
        int rows = 0;
        foreach (int length in lengths)
        {
            segments.Add((rows, length));
            rows += length;
        }

        int[] lows = new int[rows], highs = new int[rows], positions = new int[rows];
        for (int s = 0; s < segments.Count; s++)
        {
            (int first, int count) = segments[s];
            for (int i = 0; i < count; i++)
            {
                lows[first + i] = low(s, i);
                highs[first + i] = high(s, i);
                positions[first + i] = i;
            }
        }

        return new AttentionPlan(segments, lows, highs, positions);
    }
}

namespace LowLevelSpec.Engine.Drafting.Adaptive;

/// <summary>
/// Seconds of a plain step, from plain steps alone: the median of the last few, so that one disturbed step says nothing. It is measured anew from time to time
/// while trees are drafted, too, because what drafting must beat changes with the length of the text and with whatever else the machine does. Allocates only when created.
/// </summary>
internal sealed class PlainClock
{
    /// <summary>Plain steps at the start of a generation, and drafted steps between two later ones.</summary>
    private const int First = 2, Between = 48;

    /// <summary>A measurement further off than this was disturbed.</summary>
    private const double Furthest = 3;

    private readonly double[] _recent = new double[5], _sorted = new double[5];
    private int _count, _next, _started, _since;

    /// <param name="expected">Seconds expected of a plain step; counts as one measurement.</param>
    public PlainClock(double expected)
    {
        Add(expected);
        Seconds = expected;
    }

    /// <summary>Seconds of a plain step.</summary>
    public double Seconds { get; private set; }

    /// <summary>Whether the next step should be a plain one, to be measured.</summary>
    public bool IsDue => _started < First || _since >= Between;

    /// <summary>A plain step took so long.</summary>
    public void Plain(double seconds)
    {
        (_started, _since) = (_started + 1, 0);
        if (seconds / Seconds is < 1 / Furthest or > Furthest)
        {
            return;
        }

        Add(seconds);
        ReadOnlySpan<double> recent = _recent.AsSpan(0, _count);
        Span<double> sorted = _sorted.AsSpan(0, _count);
        recent.CopyTo(sorted);
        sorted.Sort();

        // Of an even number the smaller middle one: whatever disturbs a measurement adds to it.
        Seconds = sorted[(_count - 1) / 2];
    }

    /// <summary>A step drafted.</summary>
    public void Drafted() => _since++;

    private void Add(double seconds)
    {
        _recent[_next] = seconds;
        _next = (_next + 1) % _recent.Length;
        _count = Math.Min(_count + 1, _recent.Length);
    }
}

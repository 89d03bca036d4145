namespace LowLevelSpec.Engine.Backends;

/// <summary>Positions that never change (LSA: the layers of a token), so that a backend copies them to its device once.</summary>
public sealed class FixedPositions
{
    private readonly int[] _values;

    /// <summary>Takes over <paramref name="values"/>, which are never changed.</summary>
    /// <exception cref="ArgumentOutOfRangeException">One is negative.</exception>
    public FixedPositions(int[] values)
    {
        ArgumentNullException.ThrowIfNull(values);
        _values = values;
        foreach (int value in values)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(value, nameof(values));
            Largest = Math.Max(Largest, value);
        }
    }

    /// <summary>The positions.</summary>
    public ReadOnlySpan<int> Values => _values;

    /// <summary>The largest of them.</summary>
    public int Largest { get; }

    /// <summary>0 .. <paramref name="period"/>-1, over and over, <paramref name="count"/> of them.</summary>
    public static FixedPositions Repeating(int period, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(period);
        int[] values = new int[count];
        for (int i = 0; i < count; i++)
        {
            values[i] = i % period;
        }

        return new FixedPositions(values);
    }
}

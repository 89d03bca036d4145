namespace LowLevelSpec.Training.Checking;

/// <summary>One group of golden values of one variant: the largest error against its tolerance.</summary>
/// <param name="Case">Folder of the case.</param>
/// <param name="Variant">Variant of the batch, or the optimiser's trace.</param>
/// <param name="Group">What was compared.</param>
/// <param name="Values">How many values.</param>
/// <param name="LargestError">Largest error in the tolerance's unit; NaN if any value was none.</param>
/// <param name="Tolerance">What golden/README.md recommends for the group; 0 for values that must be equal.</param>
/// <param name="Worst">Where the largest error lies.</param>
public sealed record GoldenResult(string Case, string Variant, string Group, long Values, double LargestError, double Tolerance, string Worst)
{
    /// <summary>False for NaN, too.</summary>
    public bool Passed => LargestError <= Tolerance;
}

/// <summary>Collects comparisons; keeps the worst of each group.</summary>
internal sealed class GoldenReport(string name)
{
    private readonly Dictionary<(string Variant, string Group), GoldenResult> _results = [];

    /// <summary>All groups, in the order of their first comparison.</summary>
    public IEnumerable<GoldenResult> Results => _results.Values;

    /// <summary>Compares one value; the error is |actual - expected| / unit. NaN and infinity count as infinitely wrong.</summary>
    public void Compare(string variant, string group, string what, double actual, double expected, double tolerance, double unit = 1) =>
        Add(variant, group, what, 1, double.IsFinite(actual) && double.IsFinite(expected) ? Math.Abs(actual - expected) / unit : double.PositiveInfinity, tolerance);

    /// <summary>Compares arrays element by element.</summary>
    public void Compare(string variant, string group, string what, ReadOnlySpan<float> actual, ReadOnlySpan<float> expected, double tolerance, double unit = 1)
    {
        if (actual.Length != expected.Length)
        {
            Fail(variant, group, $"{what}: {actual.Length} values, expected {expected.Length}", tolerance);
            return;
        }

        double largest = 0;
        int at = 0;
        for (int i = 0; i < actual.Length; i++)
        {
            double error = float.IsFinite(actual[i]) && float.IsFinite(expected[i]) ? Math.Abs((double)actual[i] - expected[i]) / unit : double.PositiveInfinity;
            if (!(error <= largest))
            {
                (largest, at) = (error, i);
            }
        }

        Add(variant, group, $"{what}[{at}]", actual.Length, largest, tolerance);
    }

    /// <summary>Compares values that must be equal; the error is the number of differences.</summary>
    public void Equal(string variant, string group, IReadOnlyList<long> actual, IReadOnlyList<long> expected)
    {
        long differences = actual.Count == expected.Count ? actual.Zip(expected).LongCount(static pair => pair.First != pair.Second) : Math.Max(actual.Count, expected.Count);
        Add(variant, group, "", expected.Count, differences, 0);
    }

    /// <summary>Something is missing or has the wrong shape.</summary>
    public void Fail(string variant, string group, string what, double tolerance) => Add(variant, group, what, 0, double.PositiveInfinity, tolerance);

    private void Add(string variant, string group, string what, long values, double error, double tolerance)
    {
        if (!_results.TryGetValue((variant, group), out GoldenResult? result))
        {
            result = new GoldenResult(name, variant, group, 0, 0, tolerance, what);
        }

        bool worse = !(error <= result.LargestError);
        _results[(variant, group)] = result with { Values = result.Values + values, LargestError = worse ? error : result.LargestError, Worst = worse ? what : result.Worst };
    }
}

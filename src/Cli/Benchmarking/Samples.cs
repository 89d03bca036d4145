namespace LowLevelSpec.Cli.Benchmarking;

/// <summary>First and third quartile, and how many measurements they come from.</summary>
internal sealed record Spread(double Low, double High, int Samples);

/// <summary>Repeated measurements of one thing.</summary>
internal sealed class Samples
{
    private readonly List<double> _values = [];

    /// <summary>Measurements taken.</summary>
    public int Count => _values.Count;

    /// <summary>The middle one, or the mean of the middle two.</summary>
    public double Median => Quantile(0.5);

    /// <summary>The quartiles.</summary>
    public Spread Spread => new(Quantile(0.25), Quantile(0.75), Count);

    /// <summary>Adds a measurement.</summary>
    public void Add(double value) => _values.Add(value);

    /// <summary>Adds measurements.</summary>
    public void Add(IEnumerable<double> values) => _values.AddRange(values);

    /// <summary>The same measurements as something else, e.g. rates as times.</summary>
    public Samples Select(Func<double, double> map)
    {
        Samples mapped = new();
        mapped.Add(_values.Select(map));
        return mapped;
    }

    /// <summary>Linear between the order statistics.</summary>
    private double Quantile(double share)
    {
        if (_values.Count == 0)
        {
            throw new InvalidOperationException("nothing has been measured");
        }

        double[] sorted = [.. _values.Order()];
        double at = share * (sorted.Length - 1);
        int below = (int)at;
        return below + 1 == sorted.Length ? sorted[below] : sorted[below] + ((at - below) * (sorted[below + 1] - sorted[below]));
    }
}

namespace LowLevelSpec.Cli.LinkBench;

/// <summary>Quantiles of a few hundred values.</summary>
internal static class Quantiles
{
    /// <summary>The smallest value that at least <paramref name="share"/> of all values do not exceed; null where there is none.</summary>
    public static double? Of(IReadOnlyCollection<double> values, double share)
    {
        double[] sorted = [.. values.Order()];
        return sorted.Length == 0 ? null : sorted[Math.Clamp((int)Math.Ceiling(share * sorted.Length) - 1, 0, sorted.Length - 1)];
    }
}

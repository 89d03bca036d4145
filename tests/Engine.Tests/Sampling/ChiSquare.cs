namespace LowLevelSpec.Engine.Tests.Sampling;

/// <summary>Pearson's chi-square test of counts against a known distribution.</summary>
internal static class ChiSquare
{
    // Below this expected count the statistic no longer follows the chi-square distribution; such outcomes are pooled (Cochran's rule).
    private const double SmallestExpected = 5;

    private const double Precision = 1e-15;

    /// <summary>
    /// Probability of counts at least this far from the expected ones if <paramref name="probabilities"/> are true. Outcomes expected
    /// fewer than five times are pooled, into the least expected of the others while the pool is still below five. 0 where something
    /// impossible occurred; 1 where only one outcome is possible.
    /// </summary>
    public static double PValue(ReadOnlySpan<long> counts, ReadOnlySpan<double> probabilities)
    {
        (double statistic, int degrees) = Statistic(counts, probabilities);
        return double.IsPositiveInfinity(statistic) ? 0 : degrees == 0 ? 1 : UpperTail(statistic, degrees);
    }

    /// <summary>Pearson's statistic after pooling and its degrees of freedom.</summary>
    public static (double Statistic, int Degrees) Statistic(ReadOnlySpan<long> counts, ReadOnlySpan<double> probabilities)
    {
        if (counts.Length != probabilities.Length)
        {
            throw new ArgumentException($"{counts.Length} counts for {probabilities.Length} probabilities.", nameof(counts));
        }

        double sum = 0;
        long trials = 0;
        for (int i = 0; i < counts.Length; i++)
        {
            sum += probabilities[i];
            trials += counts[i];
            if (probabilities[i] <= 0 && counts[i] > 0)
            {
                return (double.PositiveInfinity, counts.Length - 1);
            }
        }

        if (Math.Abs(sum - 1) > 1e-9)
        {
            throw new ArgumentException($"The probabilities sum to {sum:R} instead of 1.", nameof(probabilities));
        }

        List<(double Expected, double Count)> cells = [];
        for (int i = 0; i < counts.Length; i++)
        {
            if (probabilities[i] > 0)
            {
                cells.Add((trials * probabilities[i], counts[i]));
            }
        }

        // The pool stays first until it is large enough, so that it takes in the least expected outcomes.
        cells.Sort();
        while (cells.Count > 1 && cells[0].Expected < SmallestExpected)
        {
            cells[1] = (cells[0].Expected + cells[1].Expected, cells[0].Count + cells[1].Count);
            cells.RemoveAt(0);
        }

        double statistic = 0;
        foreach ((double expected, double count) in cells)
        {
            statistic += expected == 0 ? 0 : (count - expected) * (count - expected) / expected;
        }

        return (statistic, cells.Count - 1);
    }

    /// <summary>Probability that a chi-square variable with <paramref name="degrees"/> degrees of freedom is at least <paramref name="statistic"/>.</summary>
    public static double UpperTail(double statistic, int degrees)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(statistic);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(degrees);
        return UpperIncompleteGamma(degrees / 2.0, statistic / 2);
    }

    /// <summary>Regularised upper incomplete gamma function Q(a, x).</summary>
    public static double UpperIncompleteGamma(double a, double x)
    {
        if (x <= 0)
        {
            return 1;
        }

        double factor = Math.Exp((a * Math.Log(x)) - x - LogGamma(a));

        // The series converges fast left of the bulk of the distribution, the continued fraction right of it.
        return x < a + 1 ? 1 - (factor * LowerSeries(a, x)) : factor * UpperFraction(a, x);
    }

    /// <summary>ln of the gamma function for a &gt; 0.</summary>
    public static double LogGamma(double a)
    {
        // Stirling's series is exact to double precision from 12 on; the recurrence gamma(a) = gamma(a + 1) / a leads there.
        double product = 1;
        while (a < 12)
        {
            product *= a;
            a++;
        }

        double inverse = 1 / a;
        double square = inverse * inverse;
        double series = inverse * ((1.0 / 12) - (square * ((1.0 / 360) - (square * ((1.0 / 1260) - (square * ((1.0 / 1680)
            - (square * ((1.0 / 1188) - (square * 691.0 / 360360))))))))));
        return ((a - 0.5) * Math.Log(a)) - a + (0.5 * Math.Log(2 * Math.PI)) + series - Math.Log(product);
    }

    // Sum over n of x^n / (a (a + 1) ... (a + n)).
    private static double LowerSeries(double a, double x)
    {
        double term = 1 / a;
        double sum = term;
        for (int n = 1; term > sum * Precision; n++)
        {
            term *= x / (a + n);
            sum += term;
        }

        return sum;
    }

    // 1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - 2 (2 - a) / (x + 5 - a - ...))), evaluated from the front by Lentz's method.
    private static double UpperFraction(double a, double x)
    {
        const double tiny = 1e-300;
        double b = x + 1 - a;
        double d = 1 / b;
        double c = 1 / tiny;
        double value = d;
        double step;
        int n = 1;
        do
        {
            double numerator = n * (a - n);
            b += 2;
            d = (numerator * d) + b;
            d = 1 / (Math.Abs(d) < tiny ? tiny : d);
            c = b + (numerator / c);
            c = Math.Abs(c) < tiny ? tiny : c;
            step = c * d;
            value *= step;
            n++;
        }
        while (Math.Abs(step - 1) > Precision && n < 100_000);

        return value;
    }
}

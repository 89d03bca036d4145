namespace LowLevelSpec.Models;

/// <summary>The divisors that Llama 3.1's RoPE scaling applies to each frequency, and the way back from them.</summary>
internal static class Llama3Divisors
{
    private const double Tolerance = 1e-3;

    /// <summary>One divisor per frequency i of a head with 2 * <paramref name="count"/> elements.</summary>
    public static double[] Of(RopeScaling scaling, float theta, int count)
    {
        double[] divisors = new double[count];
        for (int i = 0; i < count; i++)
        {
            double turns = scaling.OriginalContextLength / WaveLength(theta, i, count);
            double smooth = (turns - scaling.LowFrequencyFactor) / (scaling.HighFrequencyFactor - scaling.LowFrequencyFactor);
            divisors[i] = turns > scaling.HighFrequencyFactor ? 1
                : turns < scaling.LowFrequencyFactor ? scaling.Factor
                : 1 / (((1 - smooth) / scaling.Factor) + smooth);
        }

        return divisors;
    }

    /// <summary>Finds parameters that give these divisors; null for divisors that are all one. False where there are none.</summary>
    public static bool TryRecover(ReadOnlySpan<float> divisors, float theta, int originalContext, out RopeScaling? scaling)
    {
        scaling = null;
        float factor = 1;
        bool allOnes = true;
        foreach (float divisor in divisors)
        {
            if (!(divisor >= 1 - Tolerance && divisor <= 1e6f))
            {
                return false;
            }

            allOnes &= MathF.Abs(divisor - 1) < 1e-6f;
            factor = MathF.Max(factor, divisor);
        }

        if (allOnes)
        {
            return true;
        }

        foreach (RopeScaling? candidate in (RopeScaling?[])[new(factor, 1, 4, originalContext), Fit(divisors, theta, factor)])
        {
            if (candidate is not null && Matches(candidate, theta, divisors))
            {
                scaling = candidate;
                return true;
            }
        }

        return false;
    }

    /// <summary>
    /// In the blended band (1/divisor - 1/factor) / (1 - 1/factor) = (original/wavelength - low) / (high - low): a line in 1/wavelength.
    /// Multiplying original, low and high by one number changes nothing, so low is taken as 1.
    /// </summary>
    private static RopeScaling? Fit(ReadOnlySpan<float> divisors, float theta, float factor)
    {
        List<(double X, double Y)> band = [];
        for (int i = 0; i < divisors.Length; i++)
        {
            if (divisors[i] > 1 + 1e-4 && divisors[i] < factor * (1 - 1e-4))
            {
                band.Add((1 / WaveLength(theta, i, divisors.Length), ((1d / divisors[i]) - (1d / factor)) / (1 - (1d / factor))));
            }
        }

        if (band.Count < 2)
        {
            return null;
        }

        double slope = (band[^1].Y - band[0].Y) / (band[^1].X - band[0].X);
        double below = (slope * band[0].X) - band[0].Y, original = slope / below;
        return below > 0 && original >= 1 && original <= ModelLimits.Context
            ? new RopeScaling(factor, 1, (float)(1 + (1 / below)), (int)Math.Round(original))
            : null;
    }

    private static bool Matches(RopeScaling scaling, float theta, ReadOnlySpan<float> divisors)
    {
        double[] expected = Of(scaling, theta, divisors.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            if (Math.Abs(divisors[i] - expected[i]) > Tolerance * expected[i])
            {
                return false;
            }
        }

        return true;
    }

    private static double WaveLength(float theta, int i, int count) => 2 * Math.PI * Math.Pow(theta, (double)i / count);
}

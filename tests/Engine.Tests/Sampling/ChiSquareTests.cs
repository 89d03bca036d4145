using Xunit;

namespace LowLevelSpec.Engine.Tests.Sampling;

public sealed class ChiSquareTests
{
    /// <summary>Critical values as printed in statistical tables.</summary>
    [Theory]
    [InlineData(3.841459, 1, 0.05)]
    [InlineData(6.634897, 1, 0.01)]
    [InlineData(5.991465, 2, 0.05)]
    [InlineData(0.102587, 2, 0.95)]
    [InlineData(9.487729, 4, 0.05)]
    [InlineData(18.307038, 10, 0.05)]
    [InlineData(23.209251, 10, 0.01)]
    [InlineData(2.558212, 10, 0.99)]
    [InlineData(43.772972, 30, 0.05)]
    [InlineData(124.342113, 100, 0.05)]
    [InlineData(149.449253, 100, 0.001)]
    public void UpperTail_GivesTheTablesProbability(double statistic, int degrees, double expected)
        => Assert.Equal(expected, ChiSquare.UpperTail(statistic, degrees), 1e-6);

    /// <summary>With an even number of degrees the tail is a Poisson sum, an independent closed form.</summary>
    [Fact]
    public void UpperTail_WithEvenDegrees_IsThePoissonSum()
    {
        for (int half = 1; half <= 40; half++)
        {
            foreach (double x in (double[])[0.01, 0.5, 1, 3, 10, 39.5, 41, 80, 200])
            {
                double term = Math.Exp(-x);
                double sum = term;
                for (int j = 1; j < half; j++)
                {
                    term *= x / j;
                    sum += term;
                }

                Assert.Equal(sum, ChiSquare.UpperTail(2 * x, 2 * half), 1e-12);
            }
        }
    }

    [Theory]
    [InlineData(0.5, 0.57236494292470008707)]
    [InlineData(1, 0)]
    [InlineData(5, 3.1780538303479456197)]
    [InlineData(100, 359.13420536957539878)]
    public void LogGamma_GivesKnownValues(double a, double expected) => Assert.Equal(expected, ChiSquare.LogGamma(a), 1e-13 * Math.Max(1, expected));

    [Fact]
    public void Statistic_PoolsRareOutcomes()
    {
        // Expected 90, 6, 2, 1, 1: the last three make 4, below five, and take in the 6.
        (double statistic, int degrees) = ChiSquare.Statistic([80, 10, 5, 5, 0], [0.9, 0.06, 0.02, 0.01, 0.01]);
        Assert.Equal(1, degrees);
        Assert.Equal((100.0 / 90) + (100.0 / 10), statistic, 1e-12);
    }

    [Fact]
    public void PValue_OfAnImpossibleOutcome_IsZero() => Assert.Equal(0, ChiSquare.PValue([999, 1], [1, 0]));

    [Fact]
    public void PValue_OfTheOnlyPossibleOutcome_IsOne() => Assert.Equal(1, ChiSquare.PValue([1000, 0], [1, 0]));

    [Fact]
    public void PValue_TellsAFairDieFromALoadedOne()
    {
        double[] fair = [.. Enumerable.Repeat(1.0 / 6, 6)];
        Assert.InRange(ChiSquare.PValue([1003, 981, 1020, 1011, 970, 1015], fair), 0.5, 0.95);
        Assert.InRange(ChiSquare.PValue([1003, 981, 1020, 1011, 800, 1185], fair), 0, 1e-9);
    }

    [Fact]
    public void PValue_OfProbabilitiesThatAreNone_Throws() => Assert.Throws<ArgumentException>(() => ChiSquare.PValue([1, 1], [0.5, 0.4]));
}

using LowLevelSpec.Engine.Sampling;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Sampling;

public sealed class ExponentialTests
{
    [Fact]
    public void Apply_IsWithinTwoUnitsOfTheLibrary()
    {
        double[] x = [.. Enumerable.Range(0, 100_003).Select(i => -i * 0.007079)];
        double[] y = [.. x];
        Exponential.Apply(y, 0, 1);
        for (int i = 0; i < x.Length; i++)
        {
            double expected = x[i] < Exponential.Smallest ? 0 : Math.Exp(x[i]);
            Assert.InRange(Math.Abs(y[i] - expected), 0, 2 * (Math.BitIncrement(expected) - expected));
        }
    }

    [Fact]
    public void Apply_AtTheEnds_IsExact()
    {
        double[] y = [7, double.NegativeInfinity, -1e300, 7 - 708.5];
        Exponential.Apply(y, 7, 1);
        Assert.Equal([1, 0, 0, 0], y);
    }

    [Fact]
    public void Apply_GivesAnElementTheSameBitsWhereverItStands()
    {
        double[] x = [.. Enumerable.Range(0, 37).Select(i => -Math.Sqrt(i) * 3)];
        double[] whole = [.. x];
        Exponential.Apply(whole, 0.5, 1.3);
        for (int i = 0; i < x.Length; i++)
        {
            double[] alone = [x[i]];
            Exponential.Apply(alone, 0.5, 1.3);
            Assert.Equal(BitConverter.DoubleToInt64Bits(alone[0]), BitConverter.DoubleToInt64Bits(whole[i]));
        }
    }

    /// <summary>Pinned bits: a processor or runtime that rounds otherwise is found here.</summary>
    [Fact]
    public void Apply_HasPinnedBits()
    {
        ulong hash = 14695981039346656037;
        double[] y = [.. Enumerable.Range(0, 10_000).Select(i => -i * 0.0701)];
        Exponential.Apply(y, 0, 0.9);
        foreach (double value in y)
        {
            hash = unchecked((hash ^ BitConverter.DoubleToUInt64Bits(value)) * 1099511628211);
        }

        Assert.Equal(11732859826721837419ul, hash);
    }
}

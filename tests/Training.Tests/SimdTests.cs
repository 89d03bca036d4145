using System.Runtime.Intrinsics;
using CsCheck;
using LowLevelSpec.Training.Compute;
using LowLevelSpec.Training.Targets;
using Xunit;

namespace LowLevelSpec.Training.Tests;

/// <summary>Vector functions against the library's scalar ones in double.</summary>
public sealed class SimdTests
{
    /// <summary>2 units in the last place: half of one from rounding, the rest from the polynomial's last two steps and the reduction.</summary>
    private const double Bound = 2.4e-7;

    [Fact]
    public void The_exponential_is_within_two_units_in_the_last_place() => Gen.Float[-87.3f, 88.7f].Sample(x =>
    {
        double wanted = Math.Exp(x), error = Math.Abs(Simd.Exp(Vector256.Create(x))[3] - wanted) / wanted;
        Assert.True(error <= Bound, $"{x}: relative error {error:e2}");
    });

    [Theory]
    [InlineData(float.NegativeInfinity, 0)]
    [InlineData(-1000f, 0)]
    [InlineData(0f, 1)]
    [InlineData(float.NaN, float.NaN)]
    public void The_exponential_has_its_limits(float x, float wanted) => Assert.Equal(wanted, Simd.Exp(Vector256.Create(x))[0]);

    [Fact]
    public void BFloat16_rounds_to_the_nearest_even_and_comes_back()
    {
        float[] values = [.. Enumerable.Range(0, 37).Select(static i => (i - 18) * 0.337f * MathF.Pow(10, i % 7)), 1 + (1 / 256f), 1 + (3 / 256f), -0f];
        ushort[] narrow = new ushort[values.Length];
        float[] back = new float[values.Length];
        BFloat16Rows.Narrow(values, narrow);
        BFloat16Rows.Widen(narrow, back);
        for (int i = 0; i < values.Length; i++)
        {
            // 8 bits of significand, the first of them always 1: the nearest is at most 2^-8 away.
            Assert.True(Math.Abs(back[i] - values[i]) <= Math.Abs(values[i]) / 256, $"{values[i]} became {back[i]}");
        }

        Assert.Equal([1f, 1 + (4 / 256f), -0f], back[^3..]);
    }
}

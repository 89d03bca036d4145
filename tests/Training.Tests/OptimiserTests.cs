using LowLevelSpec.Training.Compute;
using LowLevelSpec.Training.Optimisation;
using Xunit;

namespace LowLevelSpec.Training.Tests;

/// <summary>AdamW, clipping and schedules against their definitions, written out.</summary>
public sealed class OptimiserTests
{
    [Fact]
    public void AdamW_follows_its_definition_in_double_precision()
    {
        Parameter<double> parameter = new("w", [3, 7], trainable: true);
        TestTensors.Random<double>(3, 7, 1).Span.CopyTo(parameter.Value.Span);
        double[] weights = [.. parameter.Value.Span], m = new double[21], v = new double[21];
        AdamW<double> optimiser = new([parameter], new AdamWOptions(0.8, 0.9, 1e-3, 0.1));
        for (int t = 1; t <= 4; t++)
        {
            TestTensors.Random<double>(3, 7, 10 + t).Span.CopyTo(parameter.Gradient!.Span);
            optimiser.Step(0.01 * t);
            for (int i = 0; i < weights.Length; i++)
            {
                double g = parameter.Gradient.Span[i];
                weights[i] -= 0.01 * t * 0.1 * weights[i];
                m[i] = (0.8 * m[i]) + (0.2 * g);
                v[i] = (0.9 * v[i]) + (0.1 * g * g);
                weights[i] -= 0.01 * t * (m[i] / (1 - Math.Pow(0.8, t))) / (Math.Sqrt(v[i] / (1 - Math.Pow(0.9, t))) + 1e-3);

                // Both are double: they differ by a few roundings of values around one.
                Assert.Equal(weights[i], parameter.Value.Span[i], 1e-13);
            }
        }
    }

    [Fact]
    public void Clipping_scales_all_gradients_to_the_limit_and_leaves_small_ones_alone()
    {
        Parameter<double> a = new("a", [20, 3], trainable: true), b = new("b", [5], trainable: true);
        a.Gradient!.Span.Fill(0.5);
        b.Gradient!.Span.Fill(1);
        double norm = Math.Sqrt((60 * 0.25) + 5);
        Assert.Equal(norm, GradientClipping.Clip([a, b], 1), 1e-12);
        Assert.Equal(0.5 / (norm + 1e-6), a.Gradient.Span[7], 1e-12);
        Assert.Equal(1 / (norm + 1e-6), b.Gradient.Span[4], 1e-12);
        double[] kept = [.. a.Gradient.Span];
        GradientClipping.Clip([a, b], 2);
        Assert.Equal(kept, a.Gradient.Span.ToArray());
    }

    [Fact]
    public void The_paper_s_schedule_rises_falls_and_stays()
    {
        PeakSchedule schedule = new(3e-5, 50, 100);
        Assert.Equal(0, schedule.Rate(0));
        Assert.Equal(3e-4, schedule.Rate(25), 1e-12);
        Assert.Equal(6e-4, schedule.Rate(50), 1e-12);
        Assert.Equal(3.15e-4, schedule.Rate(100), 1e-12);
        Assert.Equal(3e-5, schedule.Rate(150), 1e-12);
        Assert.Equal(3e-5, schedule.Rate(10_000), 1e-12);
    }

    [Fact]
    public void The_cosine_schedule_ends_at_its_share_of_the_peak()
    {
        CosineSchedule schedule = new(1e-3, 9, 109);
        Assert.Equal(1e-4, schedule.Rate(0), 1e-12);
        Assert.Equal(1e-3, schedule.Rate(9), 1e-12);
        Assert.Equal(1e-3 * 0.515, schedule.Rate(59), 1e-12);
        Assert.Equal(3e-5, schedule.Rate(109), 1e-12);
        Assert.Equal(3e-5, schedule.Rate(500), 1e-12);
    }

    [Fact]
    public void Starting_weights_depend_on_seed_and_name_alone()
    {
        Parameter<float> first = new("a.weight", [300, 40], trainable: true), again = new("a.weight", [300, 40], trainable: true), other = new("b.weight", [300, 40], trainable: true);
        Initialisation.Normal([first], 7);
        Initialisation.Normal([other, again], 7);
        Assert.True(first.Value.Span.SequenceEqual(again.Value.Span));
        Assert.False(first.Value.Span.SequenceEqual(other.Value.Span));

        // 12,000 draws: mean and deviation lie within 5 standard errors, 0.02 / sqrt(12000) and that over sqrt(2).
        double mean = first.Value.Span.ToArray().Average(), deviation = Math.Sqrt(first.Value.Span.ToArray().Average(static w => w * (double)w));
        Assert.InRange(mean, -9.2e-4, 9.2e-4);
        Assert.InRange(deviation, 0.02 - 6.5e-4, 0.02 + 6.5e-4);
    }
}

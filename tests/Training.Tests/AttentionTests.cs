using System.Numerics;
using LowLevelSpec.Training.Compute;
using LowLevelSpec.Training.Layers;
using Xunit;

namespace LowLevelSpec.Training.Tests;

/// <summary>Attention over runs of keys against its definition with a boolean mask, written out in double precision; backward against the analytic formulas.</summary>
public sealed class AttentionTests
{
    // Head sizes and lengths cross the borders of vectors and of unrolled loops; segments of different lengths share a plan.
    public static TheoryData<int, int, int> Shapes => new() { { 1, 1, 2 }, { 4, 2, 10 }, { 9, 3, 42 }, { 2, 1, 64 }, { 2, 2, 70 } };

    [Theory]
    [MemberData(nameof(Shapes))]
    public void Double(int heads, int kvHeads, int headSize) => Check<double>(heads, kvHeads, headSize, 1e-12);

    // Sums of at most 150 keys and 70 elements of size one in float: some 1e2 roundings of 6e-8.
    [Theory]
    [MemberData(nameof(Shapes))]
    public void Float(int heads, int kvHeads, int headSize) => Check<float>(heads, kvHeads, headSize, 2e-5);

    [Fact]
    public void Plans_refuse_bounds_outside_their_segment()
    {
        Assert.Throws<ArgumentException>(() => new AttentionPlan([(0, 2)], [0, 0], [1, 3], [0, 1]));
        Assert.Throws<ArgumentException>(() => new AttentionPlan([(0, 2)], [-1, 0], [1, 2], [0, 1]));
        Assert.Throws<ArgumentException>(() => new AttentionPlan([(1, 1)], [0, 0], [1, 1], [0, 1]));
        Assert.Throws<ArgumentException>(() => new AttentionPlan([(0, 2)], [0, 0], [1, 2], [0]));
    }

    private static void Check<T>(int heads, int kvHeads, int headSize, double tolerance) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int[] lengths = [150, 1, 37, 30, 64];
        // Causal, bounded below (staircase), whole segments, and now and then a row that sees nothing.
        AttentionPlan plan = AttentionPlan.Of(lengths, (s, i) => s == 0 ? i * 2 / 3 : 0, (s, i) => s >= 2 ? lengths[s] : i == 5 ? 0 : i + 1);
        int n = plan.Rows;
        Tensor<T> q = TestTensors.Random<T>(n, heads * headSize, 1), k = TestTensors.Random<T>(n, kvHeads * headSize, 2), v = TestTensors.Random<T>(n, kvHeads * headSize, 3);
        Tensor<T> d = TestTensors.Random<T>(n, heads * headSize, 4), output = Tensor<T>.Zeros(n, heads * headSize), lse = Tensor<T>.Zeros(n, heads);
        Tensor<T> dq = Tensor<T>.Zeros(n, heads * headSize), dk = Tensor<T>.Zeros(n, kvHeads * headSize), dv = Tensor<T>.Zeros(n, kvHeads * headSize);
        Attention.Forward(q, k, v, plan, headSize, output, lse);
        Attention.Backward(q, k, v, lse, plan, headSize, d, dq, dk, dv);

        double[] wantOutput = new double[n * heads * headSize], wantQ = new double[wantOutput.Length], wantK = new double[n * kvHeads * headSize], wantV = new double[wantK.Length];
        double scale = 1 / Math.Sqrt(headSize);
        foreach ((int first, int count) in plan.Segments)
        {
            for (int i = first; i < first + count; i++)
            {
                for (int h = 0; h < heads; h++)
                {
                    int kv = h / (heads / kvHeads);
                    int[] seen = [.. Enumerable.Range(0, count).Where(j => j >= plan.Low[i] && j < plan.High[i]).Select(j => first + j)];
                    double[] scores = [.. seen.Select(j => Math.Exp(scale * Dot(q, i, h, k, j, kv)))];
                    double[] p = [.. scores.Select(s => s / scores.Sum())], dp = [.. seen.Select(j => Dot(d, i, h, v, j, kv))];
                    double mean = p.Zip(dp, static (a, b) => a * b).Sum();
                    for (int s = 0; s < seen.Length; s++)
                    {
                        double ds = p[s] * (dp[s] - mean) * scale;
                        for (int e = 0; e < headSize; e++)
                        {
                            int atQ = (((i * heads) + h) * headSize) + e, atK = (((seen[s] * kvHeads) + kv) * headSize) + e;
                            wantOutput[atQ] += p[s] * double.CreateChecked(v.Span[atK]);
                            wantV[atK] += p[s] * double.CreateChecked(d.Span[atQ]);
                            wantQ[atQ] += ds * double.CreateChecked(k.Span[atK]);
                            wantK[atK] += ds * double.CreateChecked(q.Span[atQ]);
                        }
                    }
                }
            }
        }

        Same(wantOutput, output);
        Same(wantQ, dq);
        Same(wantK, dk);
        Same(wantV, dv);

        double Dot(Tensor<T> a, int i, int h, Tensor<T> b, int j, int kv)
        {
            double sum = 0;
            for (int e = 0; e < headSize; e++)
            {
                sum += double.CreateChecked(a.Row(i)[(h * headSize) + e]) * double.CreateChecked(b.Row(j)[(kv * headSize) + e]);
            }

            return sum;
        }

        void Same(double[] want, Tensor<T> actual)
        {
            for (int i = 0; i < want.Length; i++)
            {
                // Relative to the largest sums: gradients of keys add up over many queries.
                double error = Math.Abs(double.CreateChecked(actual.Span[i]) - want[i]);
                Assert.True(error <= tolerance * Math.Max(1, Math.Abs(want[i])), $"element {i}: {actual.Span[i]}, expected {want[i]}");
            }
        }
    }
}

using LowLevelSpec.Engine.Backends;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Backends;

/// <summary>ArgMax and TopLogProbabilities.</summary>
public abstract class SelectionTests<TFactory> : BackendTest<TFactory>
    where TFactory : IBackendFactory, new()
{
    [Theory]
    [MemberData(nameof(TestData.Vocabularies), MemberType = typeof(TestData))]
    public void Top_entries_match_f64(int vocabulary)
    {
        using Bench bench = Start();
        const int n = 3;
        float[] x = Bench.Values(n * vocabulary, vocabulary, 4f);
        Matrix logits = bench.Matrix(n, vocabulary, x);
        foreach (int count in ((int[])[1, 2, 10, 64]).Where(c => c <= Math.Min(vocabulary, MostTop)))
        {
            int[] tokens = new int[n * count];
            float[] values = new float[n * count];
            bench.Backend.TopLogProbabilities(logits, count, tokens, values);
            double[] expected = new double[n * count];
            for (int r = 0; r < n; r++)
            {
                float[] row = x[(r * vocabulary)..((r + 1) * vocabulary)];
                int[] order = [.. Enumerable.Range(0, vocabulary).OrderByDescending(i => row[i]).ThenBy(static i => i).Take(count)];
                Assert.Equal(order, tokens[(r * count)..((r + 1) * count)]);
                double max = row.Max(), logSum = Math.Log(row.Sum(v => Math.Exp(v - max)));
                for (int i = 0; i < count; i++)
                {
                    expected[(r * count) + i] = row[order[i]] - max - logSum;
                }
            }

            // Each difference x - max rounds (relative error of e^x up to |x - max| units), each exponential errs by 4 units, they are
            // summed; then the result is rounded.
            double[] tolerance = [.. expected.Select(e => Compare.Unit * (40 + 4 + ExponentialSumRoundings(vocabulary) + Math.Abs(e)))];
            Compare.Within(expected, tolerance, values, $"log-probabilities of {vocabulary}");
        }
    }

    [Theory]
    [MemberData(nameof(TestData.Vocabularies), MemberType = typeof(TestData))]
    public void ArgMax_finds_the_first_largest(int vocabulary)
    {
        using Bench bench = Start();
        const int n = 5;
        Random random = new(vocabulary);
        float[] x = [.. Enumerable.Range(0, n * vocabulary).Select(_ => (float)random.Next(-3, 3))];
        int[] tokens = new int[n];
        bench.Backend.ArgMax(bench.Matrix(n, vocabulary, x), tokens);
        for (int r = 0; r < n; r++)
        {
            float[] row = x[(r * vocabulary)..((r + 1) * vocabulary)];
            Assert.Equal(Array.IndexOf(row, row.Max()), tokens[r]);
        }
    }

    [Fact]
    public void Ties_go_to_the_lower_index_and_order_is_total()
    {
        using Bench bench = Start();
        float[] x = [1, 3, 3, 2, 3, -0f, 0f, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 2, 1];
        int[] tokens = new int[8];
        bench.Backend.TopLogProbabilities(bench.Matrix(1, x.Length, x), 8, tokens, new float[8]);
        Assert.Equal([1, 2, 4, 17, 3, 7, 18, 0], tokens);
        bench.Backend.ArgMax(bench.Matrix(1, 3, [-0f, 0f, -1f]), tokens.AsSpan(0, 1));
        Assert.Equal(0, tokens[0]);
    }

    [Fact]
    public void Equal_logits_give_the_uniform_distribution()
    {
        using Bench bench = Start();
        const int vocabulary = 3000;
        int[] tokens = new int[3];
        float[] values = new float[3];
        bench.Backend.TopLogProbabilities(bench.Matrix(1, vocabulary, [.. Enumerable.Repeat(1e4f, vocabulary)]), 3, tokens, values);
        Assert.Equal([0, 1, 2], tokens);
        Assert.All(values, static v => Assert.Equal(-Math.Log(vocabulary), v, 1e-6));
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    [InlineData(float.NegativeInfinity)]
    public void What_is_not_finite_is_refused(float bad)
    {
        using Bench bench = Start();
        foreach (int at in (int[])[0, 15, 16, 17, 36])
        {
            float[] x = Bench.Values(2 * 37, 1);
            x[37 + at] = bad;
            Matrix logits = bench.Matrix(2, 37, x);
            ArithmeticException failure = Assert.Throws<ArithmeticException>(() => bench.Backend.TopLogProbabilities(logits, 2, new int[4], new float[4]));
            Assert.Contains("row 1", failure.Message, StringComparison.Ordinal);
            int[] tokens = new int[2];
            if (float.IsNegativeInfinity(bad))
            {
                bench.Backend.ArgMax(logits, tokens);
                Assert.NotEqual(at, tokens[1]);
            }
            else
            {
                failure = Assert.Throws<ArithmeticException>(() => bench.Backend.ArgMax(logits, tokens));
                Assert.Contains("row 1", failure.Message, StringComparison.Ordinal);
            }
        }
    }

    [Theory]
    [InlineData(5)]
    [InlineData(20)]
    public void ArgMax_of_only_negative_infinity_is_refused(int columns)
    {
        using Bench bench = Start();
        Matrix logits = bench.Matrix(1, columns, [.. Enumerable.Repeat(float.NegativeInfinity, columns)]);
        Assert.Throws<ArithmeticException>(() => bench.Backend.ArgMax(logits, new int[1]));
    }

    [Fact]
    public void Mismatches_are_refused()
    {
        using Bench bench = Start();
        Matrix logits = bench.Matrix(2, 8);
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.TopLogProbabilities(logits, 9, new int[18], new float[18]));
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.TopLogProbabilities(logits, 0, [], []));
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.TopLogProbabilities(logits, 2, new int[3], new float[4]));
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.ArgMax(logits, new int[1]));
    }
}

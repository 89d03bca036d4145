using LowLevelSpec.Engine.Backends;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Backends;

/// <summary>Normalisation, activation, rotation, means and copies against f64.</summary>
public abstract class ElementTests<TFactory> : BackendTest<TFactory>
    where TFactory : IBackendFactory, new()
{
    [Theory]
    [MemberData(nameof(TestData.Widths), MemberType = typeof(TestData))]
    public void RmsNorm_matches_f64(int columns)
    {
        using Bench bench = Start();
        const int n = 3;
        float[] x = Bench.Values(n * columns, 1, 3f), gain = Bench.Values(columns, 2);
        Matrix input = bench.Matrix(n, columns, x), output = bench.Matrix(n, columns);
        bench.Backend.RmsNorm(input, bench.Vector(gain), 1e-5f, output);
        double[] expected = new double[n * columns], tolerance = new double[n * columns];
        for (int r = 0; r < n; r++)
        {
            double squares = x.AsSpan(r * columns, columns).ToArray().Sum(static v => (double)v * v);
            double scale = 1 / Math.Sqrt((squares / columns) + 1e-5f);
            for (int i = 0; i < columns; i++)
            {
                int at = (r * columns) + i;
                expected[at] = x[at] * scale * gain[i];

                // The roundings of the mean are halved by the root; root, reciprocal and two products round once each.
                tolerance[at] = Math.Abs(expected[at]) * Compare.Unit * ((SumRoundings(columns) / 2.0) + 5);
            }
        }

        Compare.Within(expected, tolerance, bench.Read(output), "RmsNorm");
        bench.Backend.RmsNorm(input, bench.Vector(gain), 1e-5f, input);
        Compare.SameBits(bench.Read(output), bench.Read(input), "RmsNorm in place");
    }

    [Theory]
    [MemberData(nameof(TestData.Widths), MemberType = typeof(TestData))]
    public void SwiGlu_matches_f64(int columns)
    {
        using Bench bench = Start();
        const int n = 4;
        float[] g = Bench.Values(n * columns, 1, 20f), u = Bench.Values(n * columns, 2);
        Matrix gate = bench.Matrix(n, columns, g), up = bench.Matrix(n, columns, u), output = bench.Matrix(n, columns);
        bench.Backend.SwiGlu(gate, up, output);
        double[] expected = new double[g.Length], tolerance = new double[g.Length];
        for (int i = 0; i < g.Length; i++)
        {
            expected[i] = g[i] / (1 + Math.Exp(-g[i])) * u[i];

            // Exp within 2 units in the last place (4 rounding units), then a sum, a quotient and a product.
            tolerance[i] = Math.Abs(expected[i]) * Compare.Unit * 8;
        }

        Compare.Within(expected, tolerance, bench.Read(output), "SwiGlu");
        bench.Backend.SwiGlu(gate, up, up);
        Compare.SameBits(bench.Read(output), bench.Read(up), "SwiGlu onto up");
    }

    [Fact]
    public void SwiGlu_of_extreme_gates_is_finite()
    {
        using Bench bench = Start();
        float[] g = [-1000f, -104f, -88f, -0f, 0f, 88f, 104f, 1000f, float.MinValue, float.MaxValue];
        Matrix output = bench.Matrix(1, g.Length);
        bench.Backend.SwiGlu(bench.Matrix(1, g.Length, g), bench.Matrix(1, g.Length, [.. g.Select(static _ => 1f)]), output);
        float[] actual = bench.Read(output);
        Assert.All(actual, static v => Assert.True(float.IsFinite(v)));
        Assert.Equal(0f, actual[0]);
        Assert.Equal(1000f, actual[7]);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(10)]
    [InlineData(32)]
    [InlineData(42)]
    [InlineData(64)]
    [InlineData(72)]
    public void Rope_matches_f64(int headSize)
    {
        using Bench bench = Start();
        const int heads = 3;
        int[] positions = [0, 5, 5, 1000, 77];
        RopeTable table = new(headSize, 10000f, null);
        (float[] cos, float[] sin) = table.Covering(1001);
        float[] x = Bench.Values(positions.Length * heads * headSize, 3);
        Matrix values = bench.Matrix(positions.Length, heads * headSize, x);
        bench.Backend.Rope(values, heads, table, positions);
        double[] expected = new double[x.Length], tolerance = new double[x.Length];
        int half = headSize / 2;
        for (int r = 0; r < positions.Length; r++)
        {
            for (int at = r * heads * headSize; at < (r + 1) * heads * headSize; at += headSize)
            {
                for (int i = 0; i < half; i++)
                {
                    double a = x[at + i], b = x[at + i + half], c = cos[(positions[r] * half) + i], s = sin[(positions[r] * half) + i];
                    expected[at + i] = (a * c) - (b * s);
                    expected[at + i + half] = (b * c) + (a * s);

                    // Two products and a sum, each rounded.
                    tolerance[at + i] = 2 * Compare.Unit * (Math.Abs(a * c) + Math.Abs(b * s));
                    tolerance[at + i + half] = 2 * Compare.Unit * (Math.Abs(b * c) + Math.Abs(a * s));
                }
            }
        }

        Compare.Within(expected, tolerance, bench.Read(values), "Rope");
    }

    [Theory]
    [MemberData(nameof(TestData.Widths), MemberType = typeof(TestData))]
    public void GroupMean_matches_f64(int columns)
    {
        using Bench bench = Start();
        foreach (int length in (int[])[1, 3, 30])
        {
            const int groups = 3;
            float[] x = Bench.Values(groups * length * columns, 4);
            Matrix output = bench.Matrix(groups, columns);
            bench.Backend.GroupMean(bench.Matrix(groups * length, columns, x), length, output);
            double[] expected = new double[groups * columns], tolerance = new double[groups * columns];
            for (int g = 0; g < groups; g++)
            {
                for (int r = 0; r < length; r++)
                {
                    for (int i = 0; i < columns; i++)
                    {
                        double value = x[(((g * length) + r) * columns) + i] / (double)length;
                        expected[(g * columns) + i] += value;

                        // length - 1 sums and the quotient round once each.
                        tolerance[(g * columns) + i] += Compare.Unit * (length + 1) * Math.Abs(value);
                    }
                }
            }

            Compare.Within(expected, tolerance, bench.Read(output), $"GroupMean of {length}");
        }
    }

    [Fact]
    public void CopyRows_gathers_and_compacts()
    {
        using Bench bench = Start();
        float[] x = Bench.Values(6 * 17, 5);
        Matrix input = bench.Matrix(6, 17, x), output = bench.Matrix(4, 17);
        int[] rows = [5, 0, 0, 2];
        bench.Backend.CopyRows(input, rows, output);
        Compare.SameBits([.. rows.SelectMany(r => x.AsSpan(r * 17, 17).ToArray())], bench.Read(output), "CopyRows");
        rows = [1, 3, 3, 5];
        bench.Backend.CopyRows(input, rows, input.Slice(0, 4));
        Compare.SameBits([.. rows.SelectMany(r => x.AsSpan(r * 17, 17).ToArray())], bench.Read(input.Slice(0, 4)), "CopyRows onto itself");
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.CopyRows(input, [6], output.Slice(0, 1)));
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.CopyRows(input, [-1], output.Slice(0, 1)));
    }

    [Fact]
    public void A_bias_of_interleaved_heads_is_reordered()
    {
        using Bench bench = Start();
        Weight gain = bench.Vector([.. Enumerable.Range(0, 12).Select(static i => (float)i)], interleavedHeads: 2);
        Matrix output = bench.Matrix(1, 12);
        bench.Backend.RmsNorm(bench.Matrix(1, 12, [.. Enumerable.Repeat(1f, 12)]), gain, 0f, output);
        Assert.Equal([0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11], bench.Read(output));
    }

    [Fact]
    public void Mismatches_are_refused()
    {
        using Bench bench = Start();
        Matrix a = bench.Matrix(2, 8), b = bench.Matrix(2, 7);
        Weight gain = bench.Vector(new float[8]);
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.RmsNorm(b, gain, 1e-5f, b));
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.RmsNorm(a, gain, 1e-5f, b));
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.SwiGlu(a, b, a));
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.GroupMean(a, 3, b));
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.Rope(a, 1, new RopeTable(8, 1e4f, null), [0]));
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.Rope(a, 1, new RopeTable(8, 1e4f, null), [0, -1]));
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.Read(a, new float[15]));
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.Write(new float[17], a));
    }
}

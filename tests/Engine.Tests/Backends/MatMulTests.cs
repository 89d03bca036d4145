using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Backends;

/// <summary>MatMul and Embed against f64 over the plainly decoded weights.</summary>
public abstract class MatMulTests<TFactory> : BackendTest<TFactory>
    where TFactory : IBackendFactory, new()
{
    [Theory]
    [MemberData(nameof(TestData.AllTypes), MemberType = typeof(TestData))]
    public void Matches_f64(TensorType type)
    {
        using Bench bench = Start();
        int block = type.BlockElements();
        int[] columns = block > 1 ? [block, 3 * block] : IsEmulated ? [1, 17, 378] : [1, 10, 15, 16, 17, 31, 32, 42, 72, 96, 378];
        int seed = 1;
        foreach (int k in columns)
        {
            foreach (int outputs in IsEmulated ? (int[])[1, 18] : [1, 4, 7, 18, 37])
            {
                foreach (int n in IsEmulated ? (int[])[1, 6] : [1, 2, 3, 6, 13])
                {
                    Check(bench, type, n, k, outputs, seed++, bias: seed % 3 == 0, accumulate: seed % 4 == 1);
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(TestData.AllTypes), MemberType = typeof(TestData))]
    public void Interleaved_heads_are_undone(TensorType type)
    {
        using Bench bench = Start();
        int k = Math.Max(64, type.BlockElements()), heads = 3, headSize = 10, outputs = heads * headSize;
        (Weight weight, float[] stored) = bench.Weight(type, outputs, k, 5, heads);
        float[] logical = new float[stored.Length];
        for (int h = 0; h < heads; h++)
        {
            for (int i = 0; i < headSize / 2; i++)
            {
                for (int half = 0; half < 2; half++)
                {
                    int to = (h * headSize) + (half * headSize / 2) + i, from = (h * headSize) + (2 * i) + half;
                    stored.AsSpan(from * k, k).CopyTo(logical.AsSpan(to * k));
                }
            }
        }

        foreach (int n in (int[])[1, 5])
        {
            float[] x = Bench.Values(n * k, 6);
            Matrix output = bench.Matrix(n, outputs);
            bench.Backend.MatMul(weight, bench.Matrix(n, k, x), output);
            CheckResult(logical, x, null, null, bench.Read(output), n, k, outputs, $"{type} interleaved");
        }
    }

    [Theory]
    [MemberData(nameof(TestData.AllTypes), MemberType = typeof(TestData))]
    public void Embedding_rows_are_the_decoded_values_exactly(TensorType type)
    {
        using Bench bench = Start();
        foreach (int columns in type.BlockElements() == 1 ? (int[])[1, 15, 16, 42, 100] : [type.BlockElements(), 2 * type.BlockElements()])
        {
            (Weight table, float[] values) = bench.Weight(type, 9, columns, columns);
            int[] tokens = [8, 0, 3, 3];
            Matrix output = bench.Matrix(tokens.Length, columns);
            bench.Backend.Embed(table, tokens, output);
            float[] expected = [.. tokens.SelectMany(t => values.AsSpan(t * columns, columns).ToArray())];
            Compare.SameBits(expected, bench.Read(output), $"{type} x {columns}");
        }
    }

    [Fact]
    public void Halves_of_every_kind_decode_exactly()
    {
        // All 65536 halves: zeros, subnormals, infinities; NaN stay NaN.
        using Bench bench = Start();
        byte[] bytes = new byte[65536 * 2];
        for (int i = 0; i < 65536; i++)
        {
            BitConverter.TryWriteBytes(bytes.AsSpan(2 * i), (ushort)i);
        }

        Weight table = bench.Load(TensorType.F16, bytes, [64, 1024]);
        Matrix output = bench.Matrix(64, 1024);
        bench.Backend.Embed(table, [.. Enumerable.Range(0, 64)], output);
        float[] actual = bench.Read(output);
        for (int i = 0; i < 65536; i++)
        {
            float expected = (float)BitConverter.UInt16BitsToHalf((ushort)i);
            Assert.Equal(float.IsNaN(expected), float.IsNaN(actual[i]));
            Assert.True(float.IsNaN(expected) || BitConverter.SingleToInt32Bits(expected) == BitConverter.SingleToInt32Bits(actual[i]), $"half {i:x4}");
        }
    }

    [Theory]
    [InlineData(TensorType.Q8_0, 0)]
    [InlineData(TensorType.Q4_0, 0)]
    [InlineData(TensorType.Q4_1, 0)]
    [InlineData(TensorType.Q4_1, 2)]
    [InlineData(TensorType.Q4_K, 0)]
    [InlineData(TensorType.Q5_K, 2)]
    [InlineData(TensorType.Q6_K, 208)]
    public void Scales_of_every_kind_decode_exactly(TensorType type, int at)
    {
        // Every eleventh half, and all around the ends of the exponent range, as a block's scale.
        using Bench bench = Start();
        ushort[] halves = [.. Enumerable.Range(0, 65536).Where(static i => i % 11 == 0 || (i & 0x7c00) is 0x7c00 && (i & 0x3ff) < 3 || (i & 0x7fff) < 40).Select(static i => (ushort)i)];
        int columns = type.BlockElements(), size = type.BlockBytes();
        byte[] bytes = StoredRows.Random(type, halves.Length * columns, 3);
        for (int i = 0; i < halves.Length; i++)
        {
            BitConverter.TryWriteBytes(bytes.AsSpan((i * size) + at), halves[i]);
        }

        float[] expected = StoredRows.Decode(type, bytes, halves.Length * columns);
        Matrix output = bench.Matrix(halves.Length, columns);
        bench.Backend.Embed(bench.Load(type, bytes, [halves.Length, columns]), [.. Enumerable.Range(0, halves.Length)], output);
        float[] actual = bench.Read(output);
        for (int i = 0; i < expected.Length; i++)
        {
            bool same = float.IsNaN(expected[i]) ? float.IsNaN(actual[i]) : BitConverter.SingleToInt32Bits(expected[i]) == BitConverter.SingleToInt32Bits(actual[i]);
            Assert.True(same, $"half {halves[i / columns]:x4}, element {i % columns}: {actual[i]:R} for {expected[i]:R}");
        }
    }

    [Fact]
    public void Writes_only_its_output()
    {
        using Bench bench = Start();
        (Weight weight, _) = bench.Weight(TensorType.F32, 7, 42, 1);
        Matrix whole = bench.Matrix(5, 20, [.. Enumerable.Repeat(7f, 100)], gap: 0);
        bench.Backend.MatMul(weight, bench.Random(3, 42, 2), whole.Slice(1, 3).SliceColumns(4, 7));
        float[] after = bench.Read(whole);
        for (int i = 0; i < after.Length; i++)
        {
            bool inside = i / 20 is >= 1 and < 4 && i % 20 is >= 4 and < 11;
            Assert.Equal(!inside, after[i] == 7f);
        }
    }

    [Fact]
    public void No_rows_are_nothing_to_do()
    {
        using Bench bench = Start();
        (Weight weight, _) = bench.Weight(TensorType.Q8_0, 7, 64, 1);
        bench.Backend.MatMul(weight, bench.Matrix(0, 64), bench.Matrix(0, 7));
        bench.Backend.Embed(weight, [], bench.Matrix(0, 64));
    }

    [Fact]
    public void Mismatches_are_refused()
    {
        using Bench bench = Start();
        (Weight weight, _) = bench.Weight(TensorType.F32, 7, 42, 1);
        Matrix input = bench.Matrix(2, 42), output = bench.Matrix(2, 7);
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.MatMul(weight, bench.Matrix(2, 41), output));
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.MatMul(weight, input, bench.Matrix(3, 7)));
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.MatMul(weight, input, output, weight));
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.MatMul(weight, input with { Offset = 100 }, output));
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.MatMul(weight, input with { Offset = -1 }, output));
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.MatMul(weight, input, output with { Stride = 6 }));
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.Embed(weight, [7], bench.Matrix(1, 42)));
        Assert.ThrowsAny<ArgumentException>(() => bench.Backend.Embed(weight, [-1], bench.Matrix(1, 42)));
    }

    [Theory]
    [InlineData(32, 3)]
    [InlineData(42, 2)]
    public void Normed_query_is_norm_product_and_rotation(int headSize, int heads)
    {
        using Bench bench = Start();
        const int n = 3, columns = 520;
        const float epsilon = 1e-5f;
        RopeTable table = new(headSize, 10000, null);
        using KvCache cache = bench.Cache(1, 1, headSize, 32);
        PassBatch batch = new(n, 0);
        for (int i = 0; i < n; i++)
        {
            batch.AddQuery(cache, new TokenId(0), new Position(7 * i), 0);
        }

        (Weight weight, float[] w) = bench.Weight(TensorType.BF16, heads * headSize, columns, 1);
        float[] x = Bench.Values(n * columns, 2, 3f), gain = Bench.Values(columns, 3), bias = Bench.Values(heads * headSize, 4);
        Matrix input = bench.Matrix(n, columns, x), norm = bench.Matrix(n, columns), output = bench.Matrix(n, heads * headSize);
        bench.Backend.NormedQuery(batch, input, bench.Vector(gain), epsilon, norm, weight, bench.Vector(bias), table, output);

        (float[] cos, float[] sin) = table.Covering(32);
        double[] expected = new double[n * heads * headSize], tolerance = new double[expected.Length];
        for (int r = 0; r < n; r++)
        {
            double squares = x.AsSpan(r * columns, columns).ToArray().Sum(static v => (double)v * v), scale = 1 / Math.Sqrt((squares / columns) + epsilon);
            double[] values = new double[heads * headSize], sizes = new double[heads * headSize];
            for (int o = 0; o < values.Length; o++)
            {
                for (int i = 0; i < columns; i++)
                {
                    double product = w[(o * columns) + i] * (x[(r * columns) + i] * scale * gain[i]);
                    values[o] += product;
                    sizes[o] += Math.Abs(product);
                }

                values[o] += bias[o];
                sizes[o] = Compare.Unit * (((SumRoundings(columns) * 1.5) + 8) * sizes[o] + (2 * Math.Abs(bias[o])));
            }

            for (int o = 0; o < values.Length; o++)
            {
                int half = headSize / 2, d = o % headSize, partner = d < half ? o + half : o - half, angle = (7 * r * half) + (d % half);
                double sine = d < half ? -sin[angle] : sin[angle];
                int at = (r * values.Length) + o;
                expected[at] = (values[o] * cos[angle]) + (values[partner] * sine);

                // The product's and the norm's roundings through the rotation, which adds two of its own.
                tolerance[at] = sizes[o] + sizes[partner] + (2 * Compare.Unit * (Math.Abs(values[o] * cos[angle]) + Math.Abs(values[partner] * sine)));
            }
        }

        Compare.Within(expected, tolerance, bench.Read(output), "NormedQuery");
    }

    private static void Check(Bench bench, TensorType type, int n, int k, int outputs, int seed, bool bias, bool accumulate)
    {
        (Weight weight, float[] w) = bench.Weight(type, outputs, k, seed);
        float[] x = Bench.Values(n * k, seed + 100), before = Bench.Values(n * outputs, seed + 200), b = Bench.Values(outputs, seed + 300);
        Matrix output = bench.Matrix(n, outputs, before);
        bench.Backend.MatMul(weight, bench.Matrix(n, k, x), output, bias ? bench.Vector(b) : null, accumulate);
        CheckResult(w, x, bias ? b : null, accumulate ? before : null, bench.Read(output), n, k, outputs, $"{type} [{outputs}, {k}] x {n}");
    }

    private static void CheckResult(float[] w, float[] x, float[]? bias, float[]? before, float[] actual, int n, int k, int outputs, string what)
    {
        double[] expected = new double[n * outputs], tolerance = new double[n * outputs];
        for (int r = 0; r < n; r++)
        {
            for (int o = 0; o < outputs; o++)
            {
                double sum = 0, magnitude = 0;
                for (int i = 0; i < k; i++)
                {
                    double product = (double)w[(o * k) + i] * x[(r * k) + i];
                    sum += product;
                    magnitude += Math.Abs(product);
                }

                double b = bias is null ? 0 : bias[o], y = before is null ? 0 : before[(r * outputs) + o];
                expected[(r * outputs) + o] = sum + b + y;

                // Those of the sum, one for the bias and one for the residual.
                tolerance[(r * outputs) + o] = Compare.Unit * ((SumRoundings(k) * magnitude) + (2 * Math.Abs(b)) + (2 * Math.Abs(y)));
            }
        }

        Compare.Within(expected, tolerance, actual, what);
    }
}

using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Backends.Cpu;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Backends;

/// <summary>Products in integer arithmetic: the definition spelled out, bit for bit, and the error against f64.</summary>
public abstract class IntegerMatMulTests(SimdWidth width)
{
    /// <summary>Types with integer kernels.</summary>
    public static TheoryData<TensorType> Types => new(IntegerReference.Types);

    [Theory]
    [MemberData(nameof(Types))]
    public void Is_the_definition_bit_for_bit(TensorType type)
    {
        using Bench bench = Start();
        int seed = 1, block = type.BlockElements();
        foreach (int k in block == 32 ? (int[])[32, 96, 352] : [256, 768])
        {
            foreach (int outputs in (int[])[1, 7, 16, 18, 53])
            {
                foreach (int n in (int[])[1, 2, 3, 4, 5, 6, 9, 21])
                {
                    byte[] stored = StoredRows.Random(type, outputs * k, seed);
                    float[] x = Bench.Values(n * k, seed + 100), before = Bench.Values(n * outputs, seed + 200), bias = Bench.Values(outputs, seed + 300);
                    bool hasBias = seed % 3 == 0, accumulate = seed % 4 == 1;
                    Matrix output = bench.Matrix(n, outputs, before);
                    bench.Backend.MatMul(bench.Load(type, stored, [outputs, k]), bench.Matrix(n, k, x), output, hasBias ? bench.Vector(bias) : null, accumulate);
                    float[] expected = IntegerReference.Product(type, stored, x, outputs, k, hasBias ? bias : null, accumulate ? before : null);
                    Compare.SameBits(expected, bench.Read(output), $"{type} [{outputs}, {k}] x {n}");
                    seed++;
                }
            }
        }
    }

    /// <summary>A text's own tokens are scored into the columns beside a trimmed head's: outputs that fill no group, in a wider matrix.</summary>
    [Fact]
    public void Writes_only_its_columns()
    {
        const int k = 256, wide = 19, first = 3;
        using Bench bench = Start();
        foreach (TensorType type in (IEnumerable<TensorType>)[.. IntegerReference.Types, TensorType.F16, TensorType.BF16])
        {
            foreach (int outputs in (int[])[1, 2, 5, 13])
            {
                (Weight weight, _) = bench.Weight(type, outputs, k, 1);
                foreach (int n in (int[])[1, 2, 3, 4, 5, 8, 21])
                {
                    Matrix input = bench.Random(n, k, 2), whole = bench.Matrix(n, wide, [.. Enumerable.Repeat(7f, n * wide)], gap: 0), alone = bench.Matrix(n, outputs, gap: 0);
                    bench.Backend.MatMul(weight, input, whole.SliceColumns(first, outputs));
                    bench.Backend.MatMul(weight, input, alone);
                    float[] found = bench.Read(whole), product = bench.Read(alone);
                    float[] expected = [.. Enumerable.Range(0, n * wide).Select(i => i % wide is var column && column >= first && column < first + outputs ? product[(i / wide * outputs) + column - first] : 7f)];
                    Compare.SameBits(expected, found, $"{type} [{outputs}, {k}] x {n}");
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Types))]
    public void Is_close_to_f64(TensorType type)
    {
        using Bench bench = Start();
        const int k = 768, outputs = 40, n = 5;
        (Weight weight, float[] w) = bench.Weight(type, outputs, k, 1);
        float[] x = Bench.Values(n * k, 2);
        Matrix output = bench.Matrix(n, outputs);
        bench.Backend.MatMul(weight, bench.Matrix(n, k, x), output);
        double[] expected = new double[n * outputs], tolerance = new double[n * outputs];
        for (int i = 0; i < expected.Length; i++)
        {
            (int row, int o) = Math.DivRem(i, outputs);
            for (int at = 0; at < k; at += 32)
            {
                double largest = 0, magnitude = 0, products = 0;
                for (int e = at; e < at + 32; e++)
                {
                    largest = Math.Max(largest, Math.Abs(x[(row * k) + e]));
                    magnitude += Math.Abs(w[(o * k) + e]);
                    products += Math.Abs((double)w[(o * k) + e] * x[(row * k) + e]);
                    expected[i] += (double)w[(o * k) + e] * x[(row * k) + e];
                }

                // Half a step of 1/127 of the largest input per element; the f32 part as in MatMulTests, generously.
                tolerance[i] += (magnitude * largest / 127 * 0.501) + (Compare.Unit * 64 * (products + (magnitude * largest)));
            }
        }

        Compare.Within(expected, tolerance, bench.Read(output), $"{type}");
    }

    [Theory]
    [MemberData(nameof(Types))]
    public void Extremes_do_not_overflow(TensorType type)
    {
        // All codes at their largest against inputs of one magnitude, in all sign patterns that line up worst.
        using Bench bench = Start();
        int k = 2 * type.BlockElements(), outputs = 16;
        foreach (byte fill in (byte[])[0x00, 0x7f, 0x80, 0xff])
        {
            byte[] stored = StoredRows.Random(type, outputs * k, 1);
            foreach (int at in Enumerable.Range(0, stored.Length).Where(i => !IntegerReference.IsScale(type, i % type.BlockBytes())))
            {
                stored[at] = fill;
            }

            foreach (Func<int, float> signs in (Func<int, float>[])[static _ => 1, static _ => -1, static i => i % 2 == 0 ? 1 : -1])
            {
                // Kernels differ with the number of rows.
                foreach (int n in (int[])[1, 2, 3, 4])
                {
                    float[] x = [.. Enumerable.Range(0, n * k).Select(i => 3.5f * signs(i))];
                    Matrix output = bench.Matrix(n, outputs);
                    bench.Backend.MatMul(bench.Load(type, stored, [outputs, k]), bench.Matrix(n, k, x), output);
                    Compare.SameBits(IntegerReference.Product(type, stored, x, outputs, k, null, null), bench.Read(output), $"{type} filled with {fill}, {n} rows");
                }
            }
        }
    }

    [Fact]
    public void Products_of_one_input_are_those_computed_apart()
    {
        using Bench bench = Start();
        const int k = 256;
        TensorType[][] sets = [[TensorType.Q4_1, TensorType.Q4_1, TensorType.Q4_1], [TensorType.Q4_0, TensorType.Q6_K], [TensorType.Q8_0, TensorType.F32], [TensorType.Q5_K, TensorType.Q4_K]];
        foreach (TensorType[] types in sets)
        {
            foreach (int n in (int[])[1, 6])
            {
                Matrix input = bench.Random(n, k, n);
                Weight[] weights = [.. types.Select((type, i) => bench.Weight(type, 40 + (600 * i), k, i).Weight)];
                Weight bias = bench.Vector(Bench.Values(weights[^1].Rows, 9));
                Matrix[] together = [.. weights.Select(w => bench.Matrix(n, w.Rows))], apart = [.. weights.Select(w => bench.Matrix(n, w.Rows))];
                bench.Backend.MatMulAll(input, [.. weights.Select((w, i) => new Product(w, together[i], i == weights.Length - 1 ? bias : null))]);
                for (int i = 0; i < weights.Length; i++)
                {
                    bench.Backend.MatMul(weights[i], input, apart[i], i == weights.Length - 1 ? bias : null);
                    Compare.SameBits(bench.Read(apart[i]), bench.Read(together[i]), $"{types[i]}, product {i} of {n} rows");
                }
            }
        }
    }

    /// <summary>A drafter's weight with rows of no whole blocks has the bits of the same weight, and input, with zeros up to the block's end.</summary>
    [Theory]
    [InlineData(378)]
    [InlineData(33)]
    [InlineData(7)]
    public void Draft_matrices_are_filled_up_to_whole_blocks(int columns)
    {
        using Bench bench = Start();
        int filled = (columns + 31) / 32 * 32, outputs = 37;
        float[] weights = Bench.Values(outputs * columns, 1);
        Weight weight = bench.LoadDraft(weights, [outputs, columns]), whole = bench.LoadDraft(FillUp(weights, columns, filled), [outputs, filled]);
        Assert.Equal(columns, weight.Columns);
        foreach (int n in (int[])[1, 2, 4, 7, 40])
        {
            // What lies behind a row of the input is no part of it.
            float[] x = Bench.Values(n * columns, n);
            Matrix input = bench.Matrix(n, columns + 5, FillUp(x, columns, columns + 5, 1e9f)), actual = bench.Matrix(n, outputs), expected = bench.Matrix(n, outputs);
            bench.Backend.MatMul(weight, input with { Columns = columns }, actual);
            bench.Backend.MatMul(whole, bench.Matrix(n, filled, FillUp(x, columns, filled)), expected);
            Compare.SameBits(bench.Read(expected), bench.Read(actual), $"{columns} columns x {n}");
        }
    }

    [Fact]
    public void Interleaved_heads_are_undone()
    {
        using Bench bench = Start();
        const int heads = 3, headSize = 10, outputs = heads * headSize, k = 64;
        byte[] stored = StoredRows.Random(TensorType.Q4_1, outputs * k, 5), logical = new byte[stored.Length];
        int rowBytes = (int)TensorType.Q4_1.Bytes(k);
        for (int row = 0; row < outputs; row++)
        {
            (int head, int at) = Math.DivRem(row, headSize);
            int from = (head * headSize) + (2 * (at % (headSize / 2))) + (at / (headSize / 2));
            stored.AsSpan(from * rowBytes, rowBytes).CopyTo(logical.AsSpan(row * rowBytes));
        }

        float[] x = Bench.Values(3 * k, 6);
        Matrix output = bench.Matrix(3, outputs);
        bench.Backend.MatMul(bench.Load(TensorType.Q4_1, stored, [outputs, k], heads), bench.Matrix(3, k, x), output);
        Compare.SameBits(IntegerReference.Product(TensorType.Q4_1, logical, x, outputs, k, null, null), bench.Read(output), "interleaved");
    }

    [Theory]
    [MemberData(nameof(Types))]
    public void Inputs_that_are_not_finite_stay_so(TensorType type)
    {
        using Bench bench = Start();
        int k = Math.Max(64, type.BlockElements());
        (Weight weight, _) = bench.Weight(type, 20, k, 3);
        foreach (float bad in (float[])[float.NaN, float.PositiveInfinity, float.NegativeInfinity])
        {
            float[] x = Bench.Values(3 * k, 4);
            x[k + 40] = bad;
            Matrix output = bench.Matrix(3, 20);
            bench.Backend.MatMul(weight, bench.Matrix(3, k, x), output);
            float[] result = bench.Read(output);
            Assert.All(result[..20], static v => Assert.True(float.IsFinite(v)));
            Assert.All(result[20..40], static v => Assert.False(float.IsFinite(v)));
            Assert.All(result[40..], static v => Assert.True(float.IsFinite(v)));
        }
    }

    [Theory]
    [MemberData(nameof(Types))]
    public void Scales_that_are_not_finite_give_no_numbers(TensorType type)
    {
        using Bench bench = Start();
        int k = Math.Max(64, type.BlockElements());
        byte[] stored = StoredRows.Random(type, 20 * k, 3);
        BitConverter.TryWriteBytes(stored.AsSpan((int)(3 * type.Bytes(k)) + (type == TensorType.Q6_K ? 208 : 0)), Half.PositiveInfinity);
        Matrix output = bench.Matrix(1, 20);
        bench.Backend.MatMul(bench.Load(type, stored, [20, k]), bench.Random(1, k, 4), output);
        float[] result = bench.Read(output);
        Assert.All(Enumerable.Range(0, 20), o => Assert.Equal(o != 3, float.IsFinite(result[o])));
    }

    [Theory]
    [MemberData(nameof(Types))]
    public void Zeros_and_tiny_inputs_give_what_the_definition_says(TensorType type)
    {
        using Bench bench = Start();
        int k = Math.Max(64, type.BlockElements());
        byte[] stored = StoredRows.Random(type, 17 * k, 3);
        foreach (float value in (float[])[0f, -0f, 1e-31f, 1.1e-30f, 1e-42f, 1e30f])
        {
            float[] x = [.. Enumerable.Repeat(value, k)];
            Matrix output = bench.Matrix(1, 17);
            bench.Backend.MatMul(bench.Load(type, stored, [17, k]), bench.Matrix(1, k, x), output);
            Compare.SameBits(IntegerReference.Product(type, stored, x, 17, k, null, null), bench.Read(output), $"{type}, inputs {value:R}");
        }
    }

    /// <summary>The same rows with <paramref name="filler"/> behind each.</summary>
    private static float[] FillUp(float[] values, int columns, int filled, float filler = 0)
    {
        float[] rows = new float[values.Length / columns * filled];
        Array.Fill(rows, filler);
        for (int row = 0; row < values.Length / columns; row++)
        {
            values.AsSpan(row * columns, columns).CopyTo(rows.AsSpan(row * filled));
        }

        return rows;
    }

    private protected virtual CpuBackend Backend() => new(2, width, Arithmetic.Auto);

    private Bench Start()
    {
        Assert.SkipWhen(!CpuBackend.IsSupported(width), $"this processor lacks vectors of width {width}");
        return new Bench(Backend());
    }
}

public sealed class CpuScalarIntegerMatMulTests() : IntegerMatMulTests(SimdWidth.Scalar);

public sealed class Cpu128IntegerMatMulTests() : IntegerMatMulTests(SimdWidth.Bits128);

public sealed class Cpu256IntegerMatMulTests() : IntegerMatMulTests(SimdWidth.Bits256);

/// <summary>Where there is AVX-VNNI, 256 bits use it; this is what processors without it run.</summary>
public sealed class CpuAvx2IntegerMatMulTests() : IntegerMatMulTests(SimdWidth.Bits256)
{
    private protected override CpuBackend Backend() => new(2, SimdWidth.Bits256, Arithmetic.Auto, null, kernels: KernelSet.Avx2Only());
}

public sealed class Cpu512IntegerMatMulTests() : IntegerMatMulTests(SimdWidth.Bits512);

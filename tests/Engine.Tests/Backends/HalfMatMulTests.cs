using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Backends.Cpu;
using LowLevelSpec.Interop.Cpu;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Backends;

/// <summary>Products with 16-bit floats under <see cref="Arithmetic.Auto"/>: the definition spelled out, bit for bit, on every width and by the native library.</summary>
public abstract unsafe class HalfMatMulTests
{
    [Theory]
    [InlineData(TensorType.F16)]
    [InlineData(TensorType.BF16)]
    public void Is_the_definition_bit_for_bit(TensorType type)
    {
        using Bench bench = new(Backend());
        int seed = 1;
        // Inputs that end within a step of 8 and within what a tile takes together; outputs that fill no group of 32, or half of one.
        foreach (int k in (int[])[1, 8, 77, 352])
        {
            foreach (int outputs in (int[])[1, 16, 17, 37, 96])
            {
                foreach (int n in (int[])[1, 2, 3, 4, 5, 6, 7, 13, 40])
                {
                    byte[] stored = StoredRows.Random(type, outputs * k, seed);
                    float[] x = Bench.Values(n * k, seed + 100), before = Bench.Values(n * outputs, seed + 200), bias = Bench.Values(outputs, seed + 300);
                    bool hasBias = seed % 3 == 0, accumulate = seed % 4 == 1;
                    Matrix output = bench.Matrix(n, outputs, before);
                    bench.Backend.MatMul(bench.Load(type, stored, [outputs, k]), bench.Matrix(n, k, x), output, hasBias ? bench.Vector(bias) : null, accumulate);
                    Compare.SameBits(Product(StoredRows.Decode(type, stored, outputs * k), x, outputs, k, hasBias ? bias : null, accumulate ? before : null), bench.Read(output), $"{type} [{outputs}, {k}] x {n}");
                    seed++;
                }
            }
        }
    }

    /// <summary>An infinite weight and one that is no number end as IEEE arithmetic ends them, in their own outputs only.</summary>
    [Fact]
    public void What_is_not_finite_stays_in_its_output()
    {
        const int k = 40, outputs = 40, n = 7;
        using Bench bench = new(Backend());
        byte[] stored = StoredRows.Random(TensorType.F16, outputs * k, 3);
        BitConverter.TryWriteBytes(stored.AsSpan(2 * ((33 * k) + 5)), (ushort)0x7c00);
        BitConverter.TryWriteBytes(stored.AsSpan(2 * ((34 * k) + 5)), (ushort)0x7e00);
        float[] x = Bench.Values(n * k, 4);
        Matrix output = bench.Matrix(n, outputs);
        bench.Backend.MatMul(bench.Load(TensorType.F16, stored, [outputs, k]), bench.Matrix(n, k, x), output);
        float[] results = bench.Read(output);
        for (int i = 0; i < results.Length; i++)
        {
            (int row, int o) = Math.DivRem(i, outputs);
            float expected = o == 33 ? float.PositiveInfinity * Math.Sign(x[(row * k) + 5]) : float.NaN;
            Assert.Equal(o is 33 or 34 ? expected : results[i], results[i]);
            Assert.Equal(o is not (33 or 34), float.IsFinite(results[i]));
        }
    }

    private protected abstract CpuBackend Backend();

    private protected static CpuBackend OfWidth(SimdWidth width)
    {
        Assert.SkipWhen(!CpuBackend.IsSupported(width), $"this processor lacks vectors of width {width}");
        return new CpuBackend(2, width, Arithmetic.Auto, null);
    }

    /// <summary>One chain per output over its inputs in ascending order, then the bias, then what was there.</summary>
    private static float[] Product(float[] weights, float[] x, int outputs, int k, float[]? bias, float[]? before)
    {
        float[] results = new float[x.Length / k * outputs];
        for (int i = 0; i < results.Length; i++)
        {
            (int row, int o) = Math.DivRem(i, outputs);
            float sum = 0;
            for (int e = 0; e < k; e++)
            {
                sum = MathF.FusedMultiplyAdd(weights[(o * k) + e], x[(row * k) + e], sum);
            }

            sum = bias is null ? sum : sum + bias[o];
            results[i] = before is null ? sum : before[i] + sum;
        }

        return results;
    }
}

/// <summary>In C#, one lane at a time.</summary>
public sealed class CpuScalarHalfMatMulTests : HalfMatMulTests
{
    private protected override CpuBackend Backend() => OfWidth(SimdWidth.Scalar);
}

/// <summary>In C#, 128 bits.</summary>
public sealed class Cpu128HalfMatMulTests : HalfMatMulTests
{
    private protected override CpuBackend Backend() => OfWidth(SimdWidth.Bits128);
}

/// <summary>In C#, 256 bits.</summary>
public sealed class Cpu256HalfMatMulTests : HalfMatMulTests
{
    private protected override CpuBackend Backend() => OfWidth(SimdWidth.Bits256);
}

/// <summary>In C#, 512 bits.</summary>
public sealed class Cpu512HalfMatMulTests : HalfMatMulTests
{
    private protected override CpuBackend Backend() => OfWidth(SimdWidth.Bits512);
}

/// <summary>By the native library's source over plain C.</summary>
public sealed class EmulatedHalfMatMulTests : HalfMatMulTests
{
    private protected override CpuBackend Backend() => new(2, SimdWidth.Auto, Arithmetic.Auto, NativeTiles.Of512(NativeKernelTests.Emulated()));
}

/// <summary>By the native library's instructions.</summary>
public sealed unsafe class NativeHalfMatMulTests : HalfMatMulTests
{
    private protected override CpuBackend Backend()
    {
        NativeCpu? library = NativeCpu.TryFind(out string note);
        NativeTiles? tiles = library is null ? null : CpuBackend.IsSupported(SimdWidth.Bits512) ? NativeTiles.Of512(library) : NativeTiles.Of256(library);
        Assert.SkipWhen(tiles is null || tiles.Half == null, $"no library with tiles over halves for this processor: {note}");
        return new CpuBackend(2, SimdWidth.Auto, Arithmetic.Auto, tiles);
    }
}

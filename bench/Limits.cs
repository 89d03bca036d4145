using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using LowLevelSpec.Engine.Measuring;

namespace LowLevelSpec.Bench;

/// <summary>What one thread of this machine can do at most, measured in the benchmark's own run: medians of five.</summary>
internal static class Limits
{
    private const int Rounds = 2_000_000, Chains = 10;

    private static readonly Lazy<double> Bandwidth = new(static () =>
    {
        using ReadBandwidth memory = new(256);
        return Median(() => memory.Measure(1));
    });

    private static readonly Lazy<double> Fma = new(static () => Median(() => Rate(FloatChains(), 2.0 * Chains * Vector256<float>.Count)));

    private static readonly Lazy<double> Integer = new(static () => Median(() => Rate(ByteChains(), 2.0 * Chains * Vector256<byte>.Count)));

    /// <summary>Bytes read per second.</summary>
    public static double BytesPerSecond => Bandwidth.Value;

    /// <summary>f32 operations per second of fused multiply-adds, 256 bits wide.</summary>
    public static double FlopsPerSecond => Fma.Value;

    /// <summary>
    /// Byte operations per second, multiply and add counted, of products of unsigned and signed bytes (vpmaddubsw) summed as shorts: the most
    /// that 256 bits without VNNI give. Where there is no AVX2, <see cref="FlopsPerSecond"/>.
    /// </summary>
    public static double IntegersPerSecond => Avx2.IsSupported ? Integer.Value : Fma.Value;

    private static double Median(Func<double> measure)
    {
        double[] values = [.. Enumerable.Range(0, 5).Select(_ => measure()).Order()];
        return values[2];
    }

    private static double Rate(long ticks, double perRound) => Rounds * perRound * Stopwatch.Frequency / ticks;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static long FloatChains()
    {
        Vector256<float> x = Vector256.Create(0.999f), y = Vector256.Create(1e-3f);
        Vector256<float> a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x;
        long start = Stopwatch.GetTimestamp();
        for (int round = 0; round < Rounds; round++)
        {
            a = Vector256.FusedMultiplyAdd(a, x, y);
            b = Vector256.FusedMultiplyAdd(b, x, y);
            c = Vector256.FusedMultiplyAdd(c, x, y);
            d = Vector256.FusedMultiplyAdd(d, x, y);
            e = Vector256.FusedMultiplyAdd(e, x, y);
            f = Vector256.FusedMultiplyAdd(f, x, y);
            g = Vector256.FusedMultiplyAdd(g, x, y);
            h = Vector256.FusedMultiplyAdd(h, x, y);
            i = Vector256.FusedMultiplyAdd(i, x, y);
            j = Vector256.FusedMultiplyAdd(j, x, y);
        }

        long ticks = Stopwatch.GetTimestamp() - start;
        Keep(Vector256.Sum(a + b + c + d + e + f + g + h + i + j));
        return ticks;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static long ByteChains()
    {
        Vector256<byte> w = Vector256.Create((byte)3);
        Vector256<short> a = default, b = default, c = default, d = default, e = default, f = default, g = default, h = default, i = default, j = default;
        long start = Stopwatch.GetTimestamp();
        for (int round = 0; round < Rounds; round++)
        {
            a += Avx2.MultiplyAddAdjacent(w, a.AsSByte());
            b += Avx2.MultiplyAddAdjacent(w, b.AsSByte());
            c += Avx2.MultiplyAddAdjacent(w, c.AsSByte());
            d += Avx2.MultiplyAddAdjacent(w, d.AsSByte());
            e += Avx2.MultiplyAddAdjacent(w, e.AsSByte());
            f += Avx2.MultiplyAddAdjacent(w, f.AsSByte());
            g += Avx2.MultiplyAddAdjacent(w, g.AsSByte());
            h += Avx2.MultiplyAddAdjacent(w, h.AsSByte());
            i += Avx2.MultiplyAddAdjacent(w, i.AsSByte());
            j += Avx2.MultiplyAddAdjacent(w, j.AsSByte());
        }

        long ticks = Stopwatch.GetTimestamp() - start;
        Keep(Vector256.Sum(a + b + c + d + e + f + g + h + i + j));
        return ticks;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Keep(float value) => GC.KeepAlive(value);
}

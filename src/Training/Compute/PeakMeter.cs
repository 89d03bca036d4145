using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace LowLevelSpec.Training.Compute;

/// <summary>What the processor could do at best: multiply-adds on registers alone, on as many threads as <see cref="Work"/> uses.</summary>
internal static class PeakMeter
{
    private const int Rounds = 1 << 15, Chains = 12;

    /// <summary>Single-precision operations a second, the best of some tries within about a quarter of a second.</summary>
    public static double Measure()
    {
        double best = 0;
        for (int attempt = 0; attempt < 25; attempt++)
        {
            int items = 4 * Work.Threads, lanes = Vector512.IsHardwareAccelerated ? Vector512<float>.Count : Vector256<float>.Count;
            float[] sinks = new float[items];
            long start = Stopwatch.GetTimestamp();
            Work.For(items, long.MaxValue, i => sinks[i] = Vector512.IsHardwareAccelerated ? Wide() : Narrow());
            double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            if (sinks.Contains(float.NaN))
            {
                throw new InvalidOperationException("the sums of constants are not numbers");
            }

            best = Math.Max(best, 2.0 * lanes * Chains * Rounds * items / seconds);
        }

        return best;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Narrow()
    {
        Vector256<float> x = Vector256.Create(0.999f), a = default, b = default, c = default, d = default, e = default, f = default, g = default, h = default, i = default, j = default, k = default, l = default;
        for (int round = 0; round < Rounds; round++)
        {
            a = Vector256.FusedMultiplyAdd(a, x, x);
            b = Vector256.FusedMultiplyAdd(b, x, x);
            c = Vector256.FusedMultiplyAdd(c, x, x);
            d = Vector256.FusedMultiplyAdd(d, x, x);
            e = Vector256.FusedMultiplyAdd(e, x, x);
            f = Vector256.FusedMultiplyAdd(f, x, x);
            g = Vector256.FusedMultiplyAdd(g, x, x);
            h = Vector256.FusedMultiplyAdd(h, x, x);
            i = Vector256.FusedMultiplyAdd(i, x, x);
            j = Vector256.FusedMultiplyAdd(j, x, x);
            k = Vector256.FusedMultiplyAdd(k, x, x);
            l = Vector256.FusedMultiplyAdd(l, x, x);
        }

        return Vector256.Sum(a + b + c + d + e + f + g + h + i + j + k + l);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Wide()
    {
        Vector512<float> x = Vector512.Create(0.999f), a = default, b = default, c = default, d = default, e = default, f = default, g = default, h = default, i = default, j = default, k = default, l = default;
        for (int round = 0; round < Rounds; round++)
        {
            a = Vector512.FusedMultiplyAdd(a, x, x);
            b = Vector512.FusedMultiplyAdd(b, x, x);
            c = Vector512.FusedMultiplyAdd(c, x, x);
            d = Vector512.FusedMultiplyAdd(d, x, x);
            e = Vector512.FusedMultiplyAdd(e, x, x);
            f = Vector512.FusedMultiplyAdd(f, x, x);
            g = Vector512.FusedMultiplyAdd(g, x, x);
            h = Vector512.FusedMultiplyAdd(h, x, x);
            i = Vector512.FusedMultiplyAdd(i, x, x);
            j = Vector512.FusedMultiplyAdd(j, x, x);
            k = Vector512.FusedMultiplyAdd(k, x, x);
            l = Vector512.FusedMultiplyAdd(l, x, x);
        }

        return Vector512.Sum(a + b + c + d + e + f + g + h + i + j + k + l);
    }
}

using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>Functions and whole-array loops over <see cref="ISimd16{T}"/>.</summary>
internal static unsafe class SimdMath
{
    private const float Log2E = 1.44269504f;
    private const float Ln2High = 0.693147182464599609375f;
    private const float Ln2Low = -1.904654299957768e-9f;

    // Added and subtracted again, 1.5 * 2^23 rounds to the nearest integer.
    private const float Rounder = 12582912f;

    /// <summary>Asks for a cache line; any address will do.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Prefetch(byte* at)
    {
        if (Sse.IsSupported)
        {
            Sse.Prefetch0(at);
        }
    }

    /// <summary><paramref name="length"/> rounded up to whole vectors.</summary>
    public static int PadLanes(int length) => (length + 15) & ~15;

    /// <summary>
    /// e^x, within 2 units in the last place of the exact value (2 more quanta of 2^-149 where the result is subnormal):
    /// x = n ln 2 + r with |r| at most 0.347, a near-minimax polynomial of degree 6 in r with relative error 8e-10, and the two
    /// factors of 2^n. 0 from about -104 down and at -infinity, infinity from about 88.73 up; NaN stays NaN.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVec Exp<TVec>(TVec x)
        where TVec : unmanaged, ISimd16<TVec>
    {
        // Max and Min give their second argument for NaN, so x comes second.
        x = TVec.Min(TVec.Broadcast(89f), TVec.Max(TVec.Broadcast(-105f), x));
        TVec rounder = TVec.Broadcast(Rounder);
        TVec p = ReducedExp(x, out TVec n);

        // 2^n reaches past both ends of the exponent range (subnormals, overflow), so it is applied in two halves.
        TVec half = TVec.Subtract(TVec.Fma(n, TVec.Broadcast(0.5f), rounder), rounder);
        return TVec.Multiply(TVec.Multiply(p, TVec.PowerOfTwo(half)), TVec.PowerOfTwo(TVec.Subtract(n, half)));
    }

    /// <summary>
    /// e^x for x of at most 0, with the bits of <see cref="Exp"/> down to -87.6, 0 below about -87.68 and at -infinity: what a softmax needs of it, in fewer
    /// steps. NaN stays NaN.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVec ExpOfNegative<TVec>(TVec x)
        where TVec : unmanaged, ISimd16<TVec>
    {
        // 2^-127 comes out as zero, whose exponent bits are those of no normal number.
        TVec p = ReducedExp(TVec.Max(TVec.Broadcast(-88f), x), out TVec n);
        return TVec.Multiply(p, TVec.PowerOfTwo(n));
    }

    /// <summary>x / (1 + e^-x).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVec Silu<TVec>(TVec x)
        where TVec : unmanaged, ISimd16<TVec> =>
        TVec.Divide(x, TVec.Add(TVec.Broadcast(1f), Exp(TVec.Subtract(TVec.Zero, x))));

    /// <summary>The first <paramref name="count"/> (0..15) floats, other lanes <paramref name="fill"/>; reads nothing beyond them.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static TVec LoadPartial<TVec>(float* source, int count, float fill = 0f)
        where TVec : unmanaged, ISimd16<TVec>
    {
        float* padded = stackalloc float[16];
        for (int i = 0; i < 16; i++)
        {
            padded[i] = i < count ? source[i] : fill;
        }

        return TVec.Load(padded);
    }

    /// <summary>Writes the first <paramref name="count"/> (0..15) lanes and nothing beyond them.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void StorePartial<TVec>(TVec value, float* destination, int count)
        where TVec : unmanaged, ISimd16<TVec>
    {
        float* padded = stackalloc float[16];
        TVec.Store(value, padded);
        for (int i = 0; i < count; i++)
        {
            destination[i] = padded[i];
        }
    }

    /// <summary>Largest of sixteen lanes, none of which is NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static float LargestLane<TVec>(TVec value)
        where TVec : unmanaged, ISimd16<TVec>
    {
        float* lanes = stackalloc float[16];
        TVec.Store(value, lanes);
        Vector128<float> four = Vector128.Max(
            Vector128.Max(Vector128.Load(lanes), Vector128.Load(lanes + 4)), Vector128.Max(Vector128.Load(lanes + 8), Vector128.Load(lanes + 12)));
        four = Vector128.Max(four, Vector128.Shuffle(four, Vector128.Create(2, 3, 0, 1)));
        return Vector128.Max(four, Vector128.Shuffle(four, Vector128.Create(1, 0, 3, 2))).ToScalar();
    }

    /// <summary>Largest of <paramref name="count"/> floats, -infinity of none. NaN are passed over.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static float MaxOf<TVec>(float* values, int count)
        where TVec : unmanaged, ISimd16<TVec>
    {
        TVec max = TVec.Broadcast(float.NegativeInfinity);
        int i = 0;
        for (; i + 16 <= count; i += 16)
        {
            max = TVec.Max(TVec.Load(values + i), max);
        }

        float result = LargestLane(max);
        for (; i < count; i++)
        {
            result = values[i] > result ? values[i] : result;
        }

        return result;
    }

    /// <summary>Copies <paramref name="count"/> floats and zeroes the rest up to whole vectors.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void CopyPadded(float* source, float* destination, int count)
    {
        Unsafe.CopyBlockUnaligned(destination, source, (uint)count * sizeof(float));
        for (int i = count; i < PadLanes(count); i++)
        {
            destination[i] = 0f;
        }
    }

    /// <summary>e^x = p 2^n with integer-valued n and p near 1.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVec ReducedExp<TVec>(TVec x, out TVec n)
        where TVec : unmanaged, ISimd16<TVec>
    {
        TVec rounder = TVec.Broadcast(Rounder);
        n = TVec.Subtract(TVec.Fma(x, TVec.Broadcast(Log2E), rounder), rounder);
        TVec r = TVec.Fma(n, TVec.Broadcast(-Ln2High), x);
        r = TVec.Fma(n, TVec.Broadcast(-Ln2Low), r);
        TVec p = TVec.Broadcast(0.0013926177501010365f);
        p = TVec.Fma(p, r, TVec.Broadcast(0.00836317418011074f));
        p = TVec.Fma(p, r, TVec.Broadcast(0.041666554653757494f));
        p = TVec.Fma(p, r, TVec.Broadcast(0.16666577018959405f));
        p = TVec.Fma(p, r, TVec.Broadcast(0.5f));
        return TVec.Add(TVec.Fma(TVec.Multiply(r, r), p, r), TVec.Broadcast(1f));
    }
}

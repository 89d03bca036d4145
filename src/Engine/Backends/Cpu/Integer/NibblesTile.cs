using System.Runtime.CompilerServices;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>Whether nibbles have a minimum (Q4_1) or an offset of 8 (Q4_0), as a type.</summary>
internal interface INibbleKind
{
    /// <summary>Whether they have a minimum.</summary>
    static abstract bool HasMinimum { get; }
}

/// <summary>Q4_0.</summary>
internal readonly struct OffsetNibbles : INibbleKind
{
    public static bool HasMinimum => false;
}

/// <summary>Q4_1.</summary>
internal readonly struct MinimumNibbles : INibbleKind
{
    public static bool HasMinimum => true;
}

/// <summary>
/// Q4_0: sum += (scale_w * scale_x) * (sum of n x - 8 * sum of x). Q4_1: sum += (scale_w * scale_x) * (sum of n x), then sum += minimum * (scale_x * sum of x).
/// Products of a nibble and a byte are at most 15 * 127 in magnitude, so the sixteen that a short collects stay in its range.
/// </summary>
internal readonly unsafe struct NibblesTile<TVec, TInt, TKind> : IIntegerTile
    where TVec : unmanaged, ISimd16<TVec>
    where TInt : unmanaged, IByteLanes<TInt, TVec>
    where TKind : struct, INibbleKind
{
    private const int InputBytes = 40;

    private static int HalvesBytes
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => TKind.HasMinimum ? 64 : 32;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run<TRows>(byte* weights, byte* inputs, int blocks, float* sums)
        where TRows : struct, IRowCount
    {
        TVec a0 = TVec.Zero, a1 = TVec.Zero, a2 = TVec.Zero, a3 = TVec.Zero;
        byte* scale = weights, w = weights + PackedWeights.HeaderBytes(HalvesBytes, blocks), ahead = w + (256L * blocks);
        for (; blocks > 0; blocks--, scale += HalvesBytes, ahead += HalvesBytes)
        {
            TInt s0 = TInt.Zero, s1 = TInt.Zero, s2 = TInt.Zero, s3 = TInt.Zero;
            byte* x = inputs;
            for (byte* end = x + 16; x < end; x += 4, w += 64)
            {
                SimdMath.Prefetch(w + PackedWeights.PrefetchDistance);
                TInt bytes = TInt.Load(w), nibbles = TInt.LowNibbles(bytes);
                s0 = TInt.AddByteProducts(s0, nibbles, x);
                if (TRows.Count > 1)
                {
                    s1 = TInt.AddByteProducts(s1, nibbles, x + InputBytes);
                }

                if (TRows.Count > 2)
                {
                    s2 = TInt.AddByteProducts(s2, nibbles, x + (2 * InputBytes));
                }

                if (TRows.Count > 3)
                {
                    s3 = TInt.AddByteProducts(s3, nibbles, x + (3 * InputBytes));
                }

                nibbles = TInt.HighNibbles(bytes);
                s0 = TInt.AddByteProducts(s0, nibbles, x + 16);
                if (TRows.Count > 1)
                {
                    s1 = TInt.AddByteProducts(s1, nibbles, x + InputBytes + 16);
                }

                if (TRows.Count > 2)
                {
                    s2 = TInt.AddByteProducts(s2, nibbles, x + (2 * InputBytes) + 16);
                }

                if (TRows.Count > 3)
                {
                    s3 = TInt.AddByteProducts(s3, nibbles, x + (3 * InputBytes) + 16);
                }
            }

            SimdMath.Prefetch(ahead);
            TVec scales = TVec.LoadFiniteHalf((ushort*)scale), minima = TKind.HasMinimum ? TVec.LoadFiniteHalf((ushort*)scale + 16) : default;
            a0 = Add(a0, s0, scales, minima, inputs);
            if (TRows.Count > 1)
            {
                a1 = Add(a1, s1, scales, minima, inputs + InputBytes);
            }

            if (TRows.Count > 2)
            {
                a2 = Add(a2, s2, scales, minima, inputs + (2 * InputBytes));
            }

            if (TRows.Count > 3)
            {
                a3 = Add(a3, s3, scales, minima, inputs + (3 * InputBytes));
            }

            inputs += TRows.Count * InputBytes;
        }

        TVec.Store(a0, sums);
        if (TRows.Count > 1)
        {
            TVec.Store(a1, sums + 16);
        }

        if (TRows.Count > 2)
        {
            TVec.Store(a2, sums + 32);
        }

        if (TRows.Count > 3)
        {
            TVec.Store(a3, sums + 48);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVec Add(TVec sum, TInt products, TVec scales, TVec minima, byte* x)
    {
        TInt total = TInt.SumProducts(products);
        if (!TKind.HasMinimum)
        {
            total = TInt.AddInts(total, TInt.BroadcastInt((int*)(x + 36)));
        }

        sum = TVec.Fma(TInt.ToSingle(total), TVec.Multiply(scales, TVec.Broadcast(*(float*)(x + 32))), sum);
        return TKind.HasMinimum ? TVec.Fma(minima, TVec.Broadcast(*(float*)(x + 36)), sum) : sum;
    }
}

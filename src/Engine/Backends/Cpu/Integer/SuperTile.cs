using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>A type stored in super-blocks of 256, as a type.</summary>
internal interface ISuperKind
{
    /// <summary>Bits per element: 4, 5 or 6.</summary>
    static abstract int Bits { get; }
}

/// <summary>Q4_K.</summary>
internal readonly struct FourBits : ISuperKind
{
    public static int Bits => 4;
}

/// <summary>Q5_K.</summary>
internal readonly struct FiveBits : ISuperKind
{
    public static int Bits => 5;
}

/// <summary>Q6_K.</summary>
internal readonly struct SixBits : ISuperKind
{
    public static int Bits => 6;
}

/// <summary>
/// Q4_K, Q5_K, Q6_K (<see cref="PackedSuperBlocks"/>). Per block of 32, for its lower and then its upper 16 inputs: sum += ((d s) scale_x) * (sum of n x, with Q6_K
/// - 32 * sum of x); then, but for Q6_K, sum += -(m t) * (scale_x * sum of x). d s and m t are exact. A short collects at
/// most eight products of 31 * 127 or four of 63 * 127.
/// </summary>
internal readonly unsafe struct SuperTile<TVec, TInt, TKind> : IIntegerTile
    where TVec : unmanaged, ISimd16<TVec>
    where TInt : unmanaged, IByteLanes<TInt, TVec>
    where TKind : struct, ISuperKind
{
    private static int InputBytes
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => TKind.Bits == 6 ? 44 : 40;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run<TRows>(byte* weights, byte* inputs, int blocks, float* sums)
        where TRows : struct, IRowCount
    {
        for (int row = 0; row < TRows.Count; row++)
        {
            TVec.Store(TVec.Zero, sums + (16 * row));
        }

        for (; blocks > 0; blocks -= 8)
        {
            TVec scale = TVec.LoadFiniteHalf((ushort*)weights), minimum = default;
            if (TKind.Bits != 6)
            {
                minimum = TVec.Multiply(TVec.LoadFiniteHalf((ushort*)weights + 16), TVec.Broadcast(-1f));
            }

            weights += PackedSuperBlocks.HeaderBytes(TKind.Bits);
            for (int block = 0; block < 8; block++, weights += PackedSuperBlocks.BlockBytes(TKind.Bits), inputs += TRows.Count * InputBytes)
            {
                for (int line = 0; line < PackedSuperBlocks.BlockBytes(TKind.Bits); line += 64)
                {
                    SimdMath.Prefetch(weights + PackedWeights.PrefetchDistance + line);
                }

                // Two sets of sixteen bytes: the halves' scales, or scales and minima.
                TVec first = TVec.FromSBytes(Vector128.Load((sbyte*)weights)), second = TVec.FromSBytes(Vector128.Load((sbyte*)weights + 16));
                TVec scales = TVec.Multiply(first, scale);
                Half<TRows>(weights + 32, inputs, 0, scales, sums);
                if (TKind.Bits == 6)
                {
                    Half<TRows>(weights + 32, inputs, 1, TVec.Multiply(second, scale), sums);
                    continue;
                }

                Half<TRows>(weights + 32, inputs, 1, scales, sums);
                TVec minima = TVec.Multiply(second, minimum);
                for (int row = 0; row < TRows.Count; row++)
                {
                    float* sum = sums + (16 * row);
                    TVec.Store(TVec.Fma(minima, TVec.Broadcast(*(float*)(inputs + (row * InputBytes) + 36)), TVec.Load(sum)), sum);
                }
            }
        }
    }

    /// <summary>Adds the products of 16 inputs.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Half<TRows>(byte* codes, byte* inputs, int half, TVec scales, float* sums)
        where TRows : struct, IRowCount
    {
        TInt t0 = TInt.Zero, t1 = TInt.Zero, t2 = TInt.Zero, t3 = TInt.Zero;
        byte* x = inputs + (16 * half);
        for (int quad = 0; quad < 4;)
        {
            TInt s0 = TInt.Zero, s1 = TInt.Zero, s2 = TInt.Zero, s3 = TInt.Zero;
            for (int end = quad + (TKind.Bits == 6 ? 2 : 4); quad < end; quad++, x += 4)
            {
                TInt w = Codes(codes, quad, half);
                s0 = TInt.AddByteProducts(s0, w, x);
                s1 = TRows.Count > 1 ? TInt.AddByteProducts(s1, w, x + InputBytes) : s1;
                s2 = TRows.Count > 2 ? TInt.AddByteProducts(s2, w, x + (2 * InputBytes)) : s2;
                s3 = TRows.Count > 3 ? TInt.AddByteProducts(s3, w, x + (3 * InputBytes)) : s3;
            }

            t0 = TInt.AddInts(t0, TInt.SumProducts(s0));
            t1 = TRows.Count > 1 ? TInt.AddInts(t1, TInt.SumProducts(s1)) : t1;
            t2 = TRows.Count > 2 ? TInt.AddInts(t2, TInt.SumProducts(s2)) : t2;
            t3 = TRows.Count > 3 ? TInt.AddInts(t3, TInt.SumProducts(s3)) : t3;
        }

        Add(t0, scales, inputs, half, sums);
        if (TRows.Count > 1)
        {
            Add(t1, scales, inputs + InputBytes, half, sums + 16);
        }

        if (TRows.Count > 2)
        {
            Add(t2, scales, inputs + (2 * InputBytes), half, sums + 32);
        }

        if (TRows.Count > 3)
        {
            Add(t3, scales, inputs + (3 * InputBytes), half, sums + 48);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TInt Codes(byte* block, int quad, int half)
    {
        TInt bytes = TInt.Load(block + (64 * quad)), nibbles = half == 0 ? TInt.LowNibbles(bytes) : TInt.HighNibbles(bytes);
        return TKind.Bits switch
        {
            5 => TInt.OrBits(nibbles, TInt.Load(block + 256), quad + (4 * half) - 4, 0x10),
            6 => TInt.OrBits(nibbles, TInt.Load(block + 256 + (64 * half)), (2 * quad) - 4, 0x30),
            _ => nibbles,
        };
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(TInt products, TVec scales, byte* x, int half, float* sum)
    {
        if (TKind.Bits == 6)
        {
            products = TInt.AddInts(products, TInt.BroadcastInt((int*)(x + 36 + (4 * half))));
        }

        TVec.Store(TVec.Fma(TInt.ToSingle(products), TVec.Multiply(scales, TVec.Broadcast(*(float*)(x + 32))), TVec.Load(sum)), sum);
    }
}

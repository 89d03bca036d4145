using System.Runtime.CompilerServices;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>A number of rows as a type, so that one source compiles to a register tile of each height.</summary>
internal interface IRowCount
{
    /// <summary>Rows, 1 to <see cref="InputBlocks.TileRows"/>.</summary>
    static abstract int Count { get; }
}

/// <summary>One row.</summary>
internal readonly struct OneRow : IRowCount
{
    public static int Count => 1;
}

/// <summary>Two rows.</summary>
internal readonly struct TwoRows : IRowCount
{
    public static int Count => 2;
}

/// <summary>Three rows.</summary>
internal readonly struct ThreeRows : IRowCount
{
    public static int Count => 3;
}

/// <summary>Four rows.</summary>
internal readonly struct FourRows : IRowCount
{
    public static int Count => 4;
}

/// <summary>
/// A packed weight type: the product of one group of 16 outputs with a tile of rows. Per block of 32 inputs the integer sum is exact;
/// blocks enter the f32 sum of a (row, output) pair one after the other, so a row's bits depend on nothing but its own input.
/// </summary>
internal unsafe interface IIntegerTile
{
    /// <summary>sums[row * 16 + output] for all rows of the tile.</summary>
    static abstract void Run<TRows>(byte* weights, byte* inputs, int blocks, float* sums)
        where TRows : struct, IRowCount;
}

/// <summary>Q8_0: sum += (scale_w * scale_x) * (sum of (w + 128) x - 128 * sum of x).</summary>
internal readonly unsafe struct BytesTile<TVec, TInt> : IIntegerTile
    where TVec : unmanaged, ISimd16<TVec>
    where TInt : unmanaged, IByteLanes<TInt, TVec>
{
    private const int ScaleBytes = 32;

    private static int InputBytes
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => TInt.CollectsInts ? 40 : 72;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run<TRows>(byte* weights, byte* inputs, int blocks, float* sums)
        where TRows : struct, IRowCount
    {
        TVec a0 = TVec.Zero, a1 = TVec.Zero, a2 = TVec.Zero, a3 = TVec.Zero;
        byte* scale = weights, w = weights + PackedWeights.HeaderBytes(ScaleBytes, blocks), ahead = w + (512L * blocks);
        for (; blocks > 0; blocks--, scale += ScaleBytes, ahead += ScaleBytes)
        {
            TInt s0 = TInt.BroadcastInt((int*)(inputs + InputBytes - 4)), s1 = default, s2 = default, s3 = default;
            if (TRows.Count > 1)
            {
                s1 = TInt.BroadcastInt((int*)(inputs + (2 * InputBytes) - 4));
            }

            if (TRows.Count > 2)
            {
                s2 = TInt.BroadcastInt((int*)(inputs + (3 * InputBytes) - 4));
            }

            if (TRows.Count > 3)
            {
                s3 = TInt.BroadcastInt((int*)(inputs + (4 * InputBytes) - 4));
            }

            byte* x = inputs;
            SimdMath.Prefetch(ahead);
            for (byte* end = w + 512; w < end; w += 64)
            {
                SimdMath.Prefetch(w + PackedWeights.PrefetchDistance);
                TInt bytes = TInt.Load(w);
                if (TInt.CollectsInts)
                {
                    s0 = TInt.AddByteProducts(s0, bytes, x);
                    s1 = TRows.Count > 1 ? TInt.AddByteProducts(s1, bytes, x + InputBytes) : s1;
                    s2 = TRows.Count > 2 ? TInt.AddByteProducts(s2, bytes, x + (2 * InputBytes)) : s2;
                    s3 = TRows.Count > 3 ? TInt.AddByteProducts(s3, bytes, x + (3 * InputBytes)) : s3;
                    x += 4;
                    continue;
                }

                TInt shorts = TInt.EvenBytes(bytes);
                s0 = TInt.AddShortProducts(s0, shorts, x);
                if (TRows.Count > 1)
                {
                    s1 = TInt.AddShortProducts(s1, shorts, x + InputBytes);
                }

                if (TRows.Count > 2)
                {
                    s2 = TInt.AddShortProducts(s2, shorts, x + (2 * InputBytes));
                }

                if (TRows.Count > 3)
                {
                    s3 = TInt.AddShortProducts(s3, shorts, x + (3 * InputBytes));
                }

                shorts = TInt.OddBytes(bytes);
                s0 = TInt.AddShortProducts(s0, shorts, x + 4);
                if (TRows.Count > 1)
                {
                    s1 = TInt.AddShortProducts(s1, shorts, x + InputBytes + 4);
                }

                if (TRows.Count > 2)
                {
                    s2 = TInt.AddShortProducts(s2, shorts, x + (2 * InputBytes) + 4);
                }

                if (TRows.Count > 3)
                {
                    s3 = TInt.AddShortProducts(s3, shorts, x + (3 * InputBytes) + 4);
                }

                x += 8;
            }

            TVec scales = TVec.LoadFiniteHalf((ushort*)scale);
            a0 = Add(a0, s0, scales, inputs);
            if (TRows.Count > 1)
            {
                a1 = Add(a1, s1, scales, inputs + InputBytes);
            }

            if (TRows.Count > 2)
            {
                a2 = Add(a2, s2, scales, inputs + (2 * InputBytes));
            }

            if (TRows.Count > 3)
            {
                a3 = Add(a3, s3, scales, inputs + (3 * InputBytes));
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
    private static TVec Add(TVec sum, TInt products, TVec scales, byte* x) =>
        TVec.Fma(TInt.ToSingle(products), TVec.Multiply(scales, TVec.Broadcast(*(float*)(x + InputBytes - 8))), sum);
}

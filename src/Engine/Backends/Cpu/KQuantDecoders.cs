using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>
/// Super-blocks of 256 elements. Q4_K and Q5_K: half scale d and half minimum-scale m, 8 scales s and 8 minima t of 6 bits in 12
/// bytes, value = (d*s)*quant - (m*t), the sum rounded once. Q6_K: 16 signed byte scales and a half d, value = (d*s)*(quant - 32).
/// </summary>
internal static unsafe class KQuantDecoders
{
    /// <summary>Decodes a row of Q4_K: 128 bytes of nibbles; each 32 bytes hold block 2j in the low and 2j + 1 in the high nibbles.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Q4<TVec>(byte* row, float* destination, int columns)
        where TVec : unmanaged, ISimd16<TVec>
    {
        for (int i = 0; i < columns; i += 256, row += 144)
        {
            float d = Simd16Parts.Half(*(ushort*)row), m = Simd16Parts.Half(*(ushort*)(row + 2));
            for (int j = 0; j < 4; j++)
            {
                ScaleAndMinimum(row + 4, 2 * j, d, m, out float scale, out float offset);
                TVec scales0 = TVec.Broadcast(scale), offsets0 = TVec.Broadcast(offset);
                ScaleAndMinimum(row + 4, (2 * j) + 1, d, m, out scale, out offset);
                TVec scales1 = TVec.Broadcast(scale), offsets1 = TVec.Broadcast(offset);
                Vector128<byte> a = Vector128.Load(row + 16 + (32 * j)), b = Vector128.Load(row + 32 + (32 * j));
                float* to = destination + i + (64 * j);
                TVec.Store(TVec.LowNibbles(a, 0, scales0, offsets0), to);
                TVec.Store(TVec.LowNibbles(b, 0, scales0, offsets0), to + 16);
                TVec.Store(TVec.HighNibbles(a, 0, scales1, offsets1), to + 32);
                TVec.Store(TVec.HighNibbles(b, 0, scales1, offsets1), to + 48);
            }
        }
    }

    /// <summary>Decodes a row of Q5_K: as Q4_K, with the fifth bits of block j in bit j of 32 bytes before the nibbles.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Q5<TVec>(byte* row, float* destination, int columns)
        where TVec : unmanaged, ISimd16<TVec>
    {
        Vector128<byte> low = Vector128.Create((byte)15), fifth = Vector128.Create((byte)16);
        for (int i = 0; i < columns; i += 256, row += 176)
        {
            float d = Simd16Parts.Half(*(ushort*)row), m = Simd16Parts.Half(*(ushort*)(row + 2));
            Vector128<byte> bits0 = Vector128.Load(row + 16), bits1 = Vector128.Load(row + 32);
            for (int block = 0; block < 8; block++)
            {
                ScaleAndMinimum(row + 4, block, d, m, out float scale, out float offset);
                TVec scales = TVec.Broadcast(scale), offsets = TVec.Broadcast(offset);
                Vector128<byte> a = Vector128.Load(row + 48 + (32 * (block / 2))), b = Vector128.Load(row + 64 + (32 * (block / 2)));
                if ((block & 1) != 0)
                {
                    a = Vector128.ShiftRightLogical(a, 4);
                    b = Vector128.ShiftRightLogical(b, 4);
                }

                // Bit `block` of each byte, moved to bit 4.
                Vector128<byte> up0 = block <= 4 ? Vector128.ShiftLeft(bits0, 4 - block) : Vector128.ShiftRightLogical(bits0, block - 4);
                Vector128<byte> up1 = block <= 4 ? Vector128.ShiftLeft(bits1, 4 - block) : Vector128.ShiftRightLogical(bits1, block - 4);
                a = (a & low) | (up0 & fifth);
                b = (b & low) | (up1 & fifth);
                float* to = destination + i + (32 * block);
                TVec.Store(TVec.Fma(TVec.FromSBytes(a.AsSByte()), scales, offsets), to);
                TVec.Store(TVec.Fma(TVec.FromSBytes(b.AsSByte()), scales, offsets), to + 16);
            }
        }
    }

    /// <summary>
    /// Decodes a row of Q6_K: 128 bytes of lower nibbles, 64 bytes of upper bit pairs, 16 scales, d. Each half of 128 elements has
    /// four groups of 32: the low nibbles of its 64 bytes, then the high ones, and pair g of its 32 bytes for group g.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Q6<TVec>(byte* row, float* destination, int columns)
        where TVec : unmanaged, ISimd16<TVec>
    {
        Vector128<byte> low = Vector128.Create((byte)15), pair = Vector128.Create((byte)0x30);
        Vector128<sbyte> middle = Vector128.Create((sbyte)32);
        for (int i = 0; i < columns; i += 256, row += 210)
        {
            float d = Simd16Parts.Half(*(ushort*)(row + 208));
            sbyte* scales = (sbyte*)row + 192;
            for (int half = 0; half < 2; half++)
            {
                for (int part = 0; part < 2; part++)
                {
                    Vector128<byte> first = Vector128.Load(row + (64 * half) + (16 * part));
                    Vector128<byte> second = Vector128.Load(row + (64 * half) + 32 + (16 * part));
                    Vector128<byte> upper = Vector128.Load(row + 128 + (32 * half) + (16 * part));
                    float* to = destination + i + (128 * half) + (16 * part);
                    sbyte* s = scales + (8 * half) + part;
                    Put(to, d * s[0], (first & low) | (Vector128.ShiftLeft(upper, 4) & pair), middle);
                    Put(to + 32, d * s[2], (second & low) | (Vector128.ShiftLeft(upper, 2) & pair), middle);
                    Put(to + 64, d * s[4], Vector128.ShiftRightLogical(first, 4) | (upper & pair), middle);
                    Put(to + 96, d * s[6], Vector128.ShiftRightLogical(second, 4) | (Vector128.ShiftRightLogical(upper, 2) & pair), middle);
                }
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static void Put(float* to, float scale, Vector128<byte> quants, Vector128<sbyte> middle) =>
            TVec.Store(TVec.Multiply(TVec.FromSBytes(quants.AsSByte() - middle), TVec.Broadcast(scale)), to);
    }

    /// <summary>d*s and -(m*t) of block <paramref name="index"/>; both exact.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void ScaleAndMinimum(byte* packed, int index, float d, float m, out float scale, out float offset)
    {
        int s, t;
        if (index < 4)
        {
            s = packed[index] & 63;
            t = packed[index + 4] & 63;
        }
        else
        {
            s = (packed[index + 4] & 15) | ((packed[index - 4] >> 6) << 4);
            t = (packed[index + 4] >> 4) | ((packed[index] >> 6) << 4);
        }

        scale = d * s;
        offset = -(m * t);
    }
}

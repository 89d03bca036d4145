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
        float* scales = stackalloc float[32], offsets = scales + 24;
        for (int i = 0; i < columns; i += 256, row += 144)
        {
            ScalesAndOffsets<TVec>(row, scales);
            for (int j = 0; j < 4; j++)
            {
                TVec scales0 = TVec.Broadcast(scales[2 * j]), offsets0 = TVec.Broadcast(offsets[2 * j]);
                TVec scales1 = TVec.Broadcast(scales[(2 * j) + 1]), offsets1 = TVec.Broadcast(offsets[(2 * j) + 1]);
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
        float* scales = stackalloc float[32], offsets = scales + 24;
        for (int i = 0; i < columns; i += 256, row += 176)
        {
            ScalesAndOffsets<TVec>(row, scales);
            Vector128<byte> bits0 = Vector128.Load(row + 16), bits1 = Vector128.Load(row + 32);
            for (int pair = 0; pair < 4; pair++)
            {
                Vector128<byte> a = Vector128.Load(row + 48 + (32 * pair)), b = Vector128.Load(row + 64 + (32 * pair));
                float* to = destination + i + (64 * pair);

                // Bits 2 * pair and 2 * pair + 1 of each byte, moved to bit 4.
                TVec scale = TVec.Broadcast(scales[2 * pair]), offset = TVec.Broadcast(offsets[2 * pair]);
                TVec.Store(TVec.Fma(TVec.FromSBytes(((a & low) | (Vector128.ShiftLeft(bits0, 4) & fifth)).AsSByte()), scale, offset), to);
                TVec.Store(TVec.Fma(TVec.FromSBytes(((b & low) | (Vector128.ShiftLeft(bits1, 4) & fifth)).AsSByte()), scale, offset), to + 16);
                a = Vector128.ShiftRightLogical(a, 4) | (Vector128.ShiftLeft(bits0, 3) & fifth);
                b = Vector128.ShiftRightLogical(b, 4) | (Vector128.ShiftLeft(bits1, 3) & fifth);
                scale = TVec.Broadcast(scales[(2 * pair) + 1]);
                offset = TVec.Broadcast(offsets[(2 * pair) + 1]);
                TVec.Store(TVec.Fma(TVec.FromSBytes(a.AsSByte()), scale, offset), to + 32);
                TVec.Store(TVec.Fma(TVec.FromSBytes(b.AsSByte()), scale, offset), to + 48);
                bits0 = Vector128.ShiftRightLogical(bits0, 2);
                bits1 = Vector128.ShiftRightLogical(bits1, 2);
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
        float* scales = stackalloc float[16];
        for (int i = 0; i < columns; i += 256, row += 210)
        {
            TVec d = TVec.Broadcast(Simd16Parts.Half(*(ushort*)(row + 208)));
            TVec.Store(TVec.Multiply(TVec.FromSBytes(Vector128.Load((sbyte*)row + 192)), d), scales);
            for (int half = 0; half < 2; half++)
            {
                for (int part = 0; part < 2; part++)
                {
                    Vector128<byte> first = Vector128.Load(row + (64 * half) + (16 * part));
                    Vector128<byte> second = Vector128.Load(row + (64 * half) + 32 + (16 * part));
                    Vector128<byte> upper = Vector128.Load(row + 128 + (32 * half) + (16 * part));
                    float* to = destination + i + (128 * half) + (16 * part);
                    float* s = scales + (8 * half) + part;
                    Put(to, s[0], (first & low) | (Vector128.ShiftLeft(upper, 4) & pair), middle);
                    Put(to + 32, s[2], (second & low) | (Vector128.ShiftLeft(upper, 2) & pair), middle);
                    Put(to + 64, s[4], Vector128.ShiftRightLogical(first, 4) | (upper & pair), middle);
                    Put(to + 96, s[6], Vector128.ShiftRightLogical(second, 4) | (Vector128.ShiftRightLogical(upper, 2) & pair), middle);
                }
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static void Put(float* to, float scale, Vector128<byte> quants, Vector128<sbyte> middle) =>
            TVec.Store(TVec.Multiply(TVec.FromSBytes(quants.AsSByte() - middle), TVec.Broadcast(scale)), to);
    }

    /// <summary>
    /// d*s of the 8 blocks in floats 0..7 and -(m*t) in floats 24..31, all exact. Packed are the first four s and t in the low six
    /// bits of bytes 0..3 and 4..7; of the others the low nibbles lie in bytes 8..11 (s low, t high), the upper bits atop the first.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void ScalesAndOffsets<TVec>(byte* block, float* result)
        where TVec : unmanaged, ISimd16<TVec>
    {
        uint s = *(uint*)(block + 4), t = *(uint*)(block + 8), rest = *(uint*)(block + 12);
        Vector128<uint> both = Vector128.Create(
            s & 0x3f3f3f3f,
            (rest & 0x0f0f0f0f) | ((s & 0xc0c0c0c0) >> 2),
            t & 0x3f3f3f3f,
            ((rest >> 4) & 0x0f0f0f0f) | ((t & 0xc0c0c0c0) >> 2));
        TVec values = TVec.FromSBytes(both.AsSByte());
        TVec.Store(TVec.Multiply(values, TVec.Broadcast(Simd16Parts.Half(*(ushort*)block))), result);
        TVec.Store(TVec.Multiply(values, TVec.Broadcast(-Simd16Parts.Half(*(ushort*)(block + 2)))), result + 16);
    }
}

using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>Turns super-blocks of 256 stored elements into f32, 64 at a time. Exact as <see cref="IBlockDecoder{TVec}"/> says.</summary>
internal unsafe interface ISuperBlockDecoder<TVec>
    where TVec : unmanaged, ISimd16<TVec>
{
    /// <summary>Bytes of 256 elements.</summary>
    static abstract int BlockBytes { get; }

    /// <summary>Writes the factors of the blocks inside a super-block to 32 floats.</summary>
    static abstract void Prepare(byte* block, float* factors);

    /// <summary>Elements 64 * quarter .. 64 * quarter + 63.</summary>
    static abstract void Decode(byte* block, float* factors, int quarter, out TVec a, out TVec b, out TVec c, out TVec d);
}

/// <summary>Factors of Q4_K and Q5_K.</summary>
internal static unsafe class KQuantFactors
{
    /// <summary>Where the minima's factors begin.</summary>
    public const int Offsets = 24;

    /// <summary>
    /// Half d, half m, then 8 scales s and 8 minima t of 6 bits: writes d*s to floats 0..7 and -(m*t) to floats 24..31, all exact.
    /// Packed are the first four s and t in the low six bits of bytes 0..3 and 4..7; of the others the low nibbles lie in bytes
    /// 8..11 (s low, t high), the upper bits atop the first.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Unpack<TVec>(byte* block, float* factors)
        where TVec : unmanaged, ISimd16<TVec>
    {
        uint s = *(uint*)(block + 4), t = *(uint*)(block + 8), rest = *(uint*)(block + 12);
        Vector128<uint> both = Vector128.Create(
            s & 0x3f3f3f3f,
            (rest & 0x0f0f0f0f) | ((s & 0xc0c0c0c0) >> 2),
            t & 0x3f3f3f3f,
            ((rest >> 4) & 0x0f0f0f0f) | ((t & 0xc0c0c0c0) >> 2));
        TVec values = TVec.FromSBytes(both.AsSByte());
        TVec.Store(TVec.Multiply(values, TVec.Broadcast(Simd16Parts.Half(*(ushort*)block))), factors);
        TVec.Store(TVec.Multiply(values, TVec.Broadcast(-Simd16Parts.Half(*(ushort*)(block + 2)))), factors + 16);
    }
}

/// <summary>Factors, then 128 bytes of nibbles: each 32 bytes hold block 2j in the low and 2j + 1 in the high ones; (d*s)*nibble - (m*t).</summary>
internal readonly unsafe struct Q4KDecoder<TVec> : ISuperBlockDecoder<TVec>
    where TVec : unmanaged, ISimd16<TVec>
{
    public static int BlockBytes => 144;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Prepare(byte* block, float* factors) => KQuantFactors.Unpack<TVec>(block, factors);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Decode(byte* block, float* factors, int quarter, out TVec a, out TVec b, out TVec c, out TVec d)
    {
        byte* nibbles = block + 16 + (32 * quarter);
        factors += 2 * quarter;
        TVec scale0 = TVec.Broadcast(factors[0]), offset0 = TVec.Broadcast(factors[KQuantFactors.Offsets]);
        TVec scale1 = TVec.Broadcast(factors[1]), offset1 = TVec.Broadcast(factors[KQuantFactors.Offsets + 1]);
        TVec.Nibbles(Vector128.Load(nibbles), 0, scale0, offset0, scale1, offset1, out a, out c);
        TVec.Nibbles(Vector128.Load(nibbles + 16), 0, scale0, offset0, scale1, offset1, out b, out d);
    }
}

/// <summary>As Q4_K, with the fifth bits of block j in bit j of 32 bytes before the nibbles.</summary>
internal readonly unsafe struct Q5KDecoder<TVec> : ISuperBlockDecoder<TVec>
    where TVec : unmanaged, ISimd16<TVec>
{
    public static int BlockBytes => 176;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Prepare(byte* block, float* factors) => KQuantFactors.Unpack<TVec>(block, factors);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Decode(byte* block, float* factors, int quarter, out TVec a, out TVec b, out TVec c, out TVec d)
    {
        byte* nibbles = block + 48 + (32 * quarter);
        factors += 2 * quarter;
        Vector128<byte> first = Vector128.Load(nibbles), second = Vector128.Load(nibbles + 16);

        // Bits 2 * quarter and 2 * quarter + 1 of each byte, moved to bit 4; what shifts in from the next byte is masked out.
        Vector128<ushort> bits0 = Vector128.Load((ushort*)(block + 16)) >> (2 * quarter), bits1 = Vector128.Load((ushort*)(block + 32)) >> (2 * quarter);
        TVec scale = TVec.Broadcast(factors[0]), offset = TVec.Broadcast(factors[KQuantFactors.Offsets]);
        a = TVec.Fma(Combine(first, bits0 << 4), scale, offset);
        b = TVec.Fma(Combine(second, bits1 << 4), scale, offset);
        scale = TVec.Broadcast(factors[1]);
        offset = TVec.Broadcast(factors[KQuantFactors.Offsets + 1]);
        c = TVec.Fma(Combine((first.AsUInt16() >> 4).AsByte(), bits0 << 3), scale, offset);
        d = TVec.Fma(Combine((second.AsUInt16() >> 4).AsByte(), bits1 << 3), scale, offset);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVec Combine(Vector128<byte> nibbles, Vector128<ushort> fifth) => TVec.FromSBytes(
        ((nibbles & Vector128.Create((byte)15)) | (fifth.AsByte() & Vector128.Create((byte)16))).AsSByte());
}

/// <summary>
/// 128 bytes of lower nibbles, 64 bytes of upper bit pairs, 16 signed byte scales s, half d; (d*s)*(quant - 32). Each half of 128
/// elements has four groups of 32: the low nibbles of its 64 bytes, then the high ones, and pair g of its 32 bytes for group g.
/// </summary>
internal readonly unsafe struct Q6KDecoder<TVec> : ISuperBlockDecoder<TVec>
    where TVec : unmanaged, ISimd16<TVec>
{
    public static int BlockBytes => 210;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Prepare(byte* block, float* factors) => TVec.Store(
        TVec.Multiply(TVec.FromSBytes(Vector128.Load((sbyte*)block + 192)), TVec.Broadcast(Simd16Parts.Half(*(ushort*)(block + 208)))), factors);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Decode(byte* block, float* factors, int quarter, out TVec a, out TVec b, out TVec c, out TVec d)
    {
        byte* nibbles = block + (64 * (quarter / 2)), pairs = block + 128 + (32 * (quarter / 2));
        factors += 4 * quarter;

        // The second quarter of a half is the first one, four bits further up in both places.
        int shift = 4 * (quarter & 1);
        Vector128<ushort> upper0 = Vector128.Load((ushort*)pairs) >> shift, upper1 = Vector128.Load((ushort*)(pairs + 16)) >> shift;
        a = TVec.Multiply(Combine(nibbles, shift, upper0 << 4), TVec.Broadcast(factors[0]));
        b = TVec.Multiply(Combine(nibbles + 16, shift, upper1 << 4), TVec.Broadcast(factors[1]));
        c = TVec.Multiply(Combine(nibbles + 32, shift, upper0 << 2), TVec.Broadcast(factors[2]));
        d = TVec.Multiply(Combine(nibbles + 48, shift, upper1 << 2), TVec.Broadcast(factors[3]));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVec Combine(byte* nibbles, int shift, Vector128<ushort> upper)
    {
        Vector128<byte> low = (Vector128.Load((ushort*)nibbles) >> shift).AsByte() & Vector128.Create((byte)15);
        return TVec.FromSBytes((low | (upper.AsByte() & Vector128.Create((byte)0x30))).AsSByte() - Vector128.Create((sbyte)32));
    }
}

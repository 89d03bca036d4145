using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>
/// Turns 32 stored elements into f32. Every product of scale and quant has at most 24 significant bits, so it is exact, and
/// a sum with a minimum rounds once whether it is fused or not: all ways of writing a decoder give the same values.
/// </summary>
internal unsafe interface IBlockDecoder<TVec>
    where TVec : unmanaged, ISimd16<TVec>
{
    /// <summary>Bytes of 32 elements.</summary>
    static abstract int BlockBytes { get; }

    /// <summary>Elements 0..15 and 16..31 of a block.</summary>
    static abstract void Decode(byte* block, out TVec low, out TVec high);

    /// <summary>Element <paramref name="index"/> of a row of single elements; types stored in blocks have none.</summary>
    static abstract float One(byte* row, int index);
}

/// <summary>Row decoders by type.</summary>
internal static unsafe class Decoders
{
    /// <summary>The function (row, destination, columns) that decodes a row of <paramref name="type"/> to exactly that many floats.</summary>
    public static delegate*<byte*, float*, int, void> Row<TVec>(TensorType type)
        where TVec : unmanaged, ISimd16<TVec> => type switch
        {
            TensorType.F32 => &Plain<TVec, F32Decoder<TVec>>,
            TensorType.F16 => &Plain<TVec, F16Decoder<TVec>>,
            TensorType.BF16 => &Plain<TVec, BF16Decoder<TVec>>,
            TensorType.Q8_0 => &Plain<TVec, Q80Decoder<TVec>>,
            TensorType.Q4_0 => &Plain<TVec, Q40Decoder<TVec>>,
            TensorType.Q4_1 => &Plain<TVec, Q41Decoder<TVec>>,
            TensorType.Q4_K => &SuperBlocks<TVec, Q4KDecoder<TVec>>,
            TensorType.Q5_K => &SuperBlocks<TVec, Q5KDecoder<TVec>>,
            TensorType.Q6_K => &SuperBlocks<TVec, Q6KDecoder<TVec>>,
            _ => throw new ArgumentException($"{type} is no weight type"),
        };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Plain<TVec, TDecoder>(byte* row, float* destination, int columns)
        where TVec : unmanaged, ISimd16<TVec>
        where TDecoder : IBlockDecoder<TVec>
    {
        int i = 0;
        byte* block = row;
        for (; i + 32 <= columns; i += 32)
        {
            TDecoder.Decode(block, out TVec low, out TVec high);
            TVec.Store(low, destination + i);
            TVec.Store(high, destination + i + 16);
            block += TDecoder.BlockBytes;
        }

        for (; i < columns; i++)
        {
            destination[i] = TDecoder.One(row, i);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void SuperBlocks<TVec, TDecoder>(byte* row, float* destination, int columns)
        where TVec : unmanaged, ISimd16<TVec>
        where TDecoder : ISuperBlockDecoder<TVec>
    {
        float* factors = stackalloc float[32];
        for (float* end = destination + columns; destination < end; row += TDecoder.BlockBytes)
        {
            TDecoder.Prepare(row, factors);
            for (int quarter = 0; quarter < 4; quarter++, destination += 64)
            {
                TDecoder.Decode(row, factors, quarter, out TVec a, out TVec b, out TVec c, out TVec d);
                TVec.Store(a, destination);
                TVec.Store(b, destination + 16);
                TVec.Store(c, destination + 32);
                TVec.Store(d, destination + 48);
            }
        }
    }
}

/// <summary>IEEE floats.</summary>
internal readonly unsafe struct F32Decoder<TVec> : IBlockDecoder<TVec>
    where TVec : unmanaged, ISimd16<TVec>
{
    public static int BlockBytes => 128;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Decode(byte* block, out TVec low, out TVec high)
    {
        low = TVec.Load((float*)block);
        high = TVec.Load((float*)block + 16);
    }

    public static float One(byte* row, int index) => Unsafe.ReadUnaligned<float>(row + ((long)index * 4));
}

/// <summary>IEEE halves.</summary>
internal readonly unsafe struct F16Decoder<TVec> : IBlockDecoder<TVec>
    where TVec : unmanaged, ISimd16<TVec>
{
    public static int BlockBytes => 64;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Decode(byte* block, out TVec low, out TVec high)
    {
        low = TVec.LoadHalf((ushort*)block);
        high = TVec.LoadHalf((ushort*)block + 16);
    }

    public static float One(byte* row, int index) => Simd16Parts.Half(Unsafe.ReadUnaligned<ushort>(row + ((long)index * 2)));
}

/// <summary>Upper halves of floats.</summary>
internal readonly unsafe struct BF16Decoder<TVec> : IBlockDecoder<TVec>
    where TVec : unmanaged, ISimd16<TVec>
{
    public static int BlockBytes => 64;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Decode(byte* block, out TVec low, out TVec high)
    {
        low = TVec.LoadBFloat16((ushort*)block);
        high = TVec.LoadBFloat16((ushort*)block + 16);
    }

    public static float One(byte* row, int index) => Simd16Parts.BFloat16(Unsafe.ReadUnaligned<ushort>(row + ((long)index * 2)));
}

/// <summary>Half scale, 32 signed bytes; scale * byte.</summary>
internal readonly unsafe struct Q80Decoder<TVec> : IBlockDecoder<TVec>
    where TVec : unmanaged, ISimd16<TVec>
{
    public static int BlockBytes => 34;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Decode(byte* block, out TVec low, out TVec high)
    {
        TVec scales = TVec.Broadcast(Simd16Parts.Half(*(ushort*)block));
        low = TVec.Multiply(TVec.FromSBytes(Vector128.Load((sbyte*)block + 2)), scales);
        high = TVec.Multiply(TVec.FromSBytes(Vector128.Load((sbyte*)block + 18)), scales);
    }

    public static float One(byte* row, int index) => throw new NotSupportedException("Q8_0 comes in blocks of 32");
}

/// <summary>Half scale, 32 nibbles, low ones first; scale * (nibble - 8). The offset -0 keeps the sign of a zero product.</summary>
internal readonly unsafe struct Q40Decoder<TVec> : IBlockDecoder<TVec>
    where TVec : unmanaged, ISimd16<TVec>
{
    public static int BlockBytes => 18;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Decode(byte* block, out TVec low, out TVec high)
    {
        TVec scales = TVec.Broadcast(Simd16Parts.Half(*(ushort*)block)), offsets = TVec.Broadcast(-0f);
        TVec.Nibbles(Vector128.Load(block + 2), -8, scales, offsets, scales, offsets, out low, out high);
    }

    public static float One(byte* row, int index) => throw new NotSupportedException("Q4_0 comes in blocks of 32");
}

/// <summary>Half scale and minimum, 32 nibbles, low ones first; fma(nibble, scale, minimum).</summary>
internal readonly unsafe struct Q41Decoder<TVec> : IBlockDecoder<TVec>
    where TVec : unmanaged, ISimd16<TVec>
{
    public static int BlockBytes => 20;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Decode(byte* block, out TVec low, out TVec high)
    {
        Vector128<float> both = Simd16Parts.HalfPair(*(uint*)block);
        TVec scales = TVec.Broadcast(both.ToScalar()), offsets = TVec.Broadcast(both.GetElement(1));
        TVec.Nibbles(Vector128.Load(block + 4), 0, scales, offsets, scales, offsets, out low, out high);
    }

    public static float One(byte* row, int index) => throw new NotSupportedException("Q4_1 comes in blocks of 32");
}

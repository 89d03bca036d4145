using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace LowLevelSpec.Models;

/// <summary>
/// Encodes floats in each weight type. F16 and BF16 round to nearest even; Q8_0, Q4_0 and Q4_1 choose scales as ggml's plain
/// encoders do; the K types use one pass of min/max scales: valid blocks with sound errors, not the best that a search finds.
/// Values are expected to be finite.
/// </summary>
public static class Quantizer
{
    /// <summary>Encodes <paramref name="values"/> (a multiple of the block length) into new bytes.</summary>
    public static byte[] Quantize(TensorType type, ReadOnlySpan<float> values)
    {
        byte[] bytes = new byte[type.Bytes(values.Length)];
        Quantize(type, values, bytes);
        return bytes;
    }

    /// <summary>Encodes <paramref name="values"/> (a multiple of the block length) into <paramref name="destination"/>.</summary>
    public static void Quantize(TensorType type, ReadOnlySpan<float> values, Span<byte> destination)
    {
        int block = type.BlockElements(), bytes = type.BlockBytes();
        if (values.Length % block != 0)
        {
            throw new ArgumentException($"{values.Length} values are not a multiple of {type}'s block of {block}", nameof(values));
        }

        ArgumentOutOfRangeException.ThrowIfLessThan(destination.Length, checked((int)type.Bytes(values.Length)));
        if (type == TensorType.F32)
        {
            MemoryMarshal.AsBytes(values).CopyTo(destination);
            return;
        }

        for (int i = 0; i < values.Length / block; i++)
        {
            ReadOnlySpan<float> x = values.Slice(i * block, block);
            Span<byte> to = destination.Slice(i * bytes, bytes);
            switch (type)
            {
                case TensorType.F16: WriteHalf(to, x[0]); break;
                case TensorType.BF16: BinaryPrimitives.WriteUInt16LittleEndian(to, ToBFloat16(x[0])); break;
                case TensorType.Q8_0: BlockQ8_0(x, to); break;
                case TensorType.Q4_0: BlockQ4_0(x, to); break;
                case TensorType.Q4_1: BlockQ4_1(x, to); break;
                case TensorType.Q4_K: BlockQ45K(x, to, 15); break;
                case TensorType.Q5_K: BlockQ45K(x, to, 31); break;
                case TensorType.Q6_K: BlockQ6K(x, to); break;
                default: throw new ArgumentException($"{type} is not a weight type", nameof(type));
            }
        }
    }

    /// <summary>The upper half of a float, rounded to nearest, ties to even; NaN stays NaN.</summary>
    public static ushort ToBFloat16(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);

        // Rounding up a NaN whose payload is all ones would carry into the sign; force a quiet NaN instead.
        return float.IsNaN(value) ? (ushort)((bits >> 16) | 0x40) : (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }

    private static void BlockQ8_0(ReadOnlySpan<float> x, Span<byte> to)
    {
        float scale = MaxMagnitude(x) / 127f;
        float inverse = scale == 0 ? 0 : 1 / scale;
        WriteHalf(to, scale);
        for (int i = 0; i < 32; i++)
        {
            to[2 + i] = (byte)(sbyte)Nearest(x[i] * inverse, -127, 127);
        }
    }

    private static void BlockQ4_0(ReadOnlySpan<float> x, Span<byte> to)
    {
        // The value of largest magnitude maps to nibble 0 (-8 steps), so the sign of the scale is opposite to its sign.
        float extreme = 0;
        foreach (float value in x)
        {
            extreme = MathF.Abs(value) > MathF.Abs(extreme) ? value : extreme;
        }

        float scale = extreme / -8;
        float inverse = scale == 0 ? 0 : 1 / scale;
        WriteHalf(to, scale);
        for (int i = 0; i < 16; i++)
        {
            int low = Math.Clamp((int)((x[i] * inverse) + 8.5f), 0, 15), high = Math.Clamp((int)((x[i + 16] * inverse) + 8.5f), 0, 15);
            to[2 + i] = (byte)(low | (high << 4));
        }
    }

    private static void BlockQ4_1(ReadOnlySpan<float> x, Span<byte> to)
    {
        (float min, float max) = Range(x);
        float scale = (max - min) / 15;
        float inverse = scale == 0 ? 0 : 1 / scale;
        WriteHalf(to, scale);
        WriteHalf(to[2..], min);
        for (int i = 0; i < 16; i++)
        {
            int low = Nearest((x[i] - min) * inverse, 0, 15), high = Nearest((x[i + 16] - min) * inverse, 0, 15);
            to[4 + i] = (byte)(low | (high << 4));
        }
    }

    /// <summary>Q4_K (<paramref name="top"/> 15) and Q5_K (31) differ by one more bit per value, kept in 32 bytes after the scales.</summary>
    private static void BlockQ45K(ReadOnlySpan<float> x, Span<byte> to, int top)
    {
        Span<float> scales = stackalloc float[8], minima = stackalloc float[8];
        for (int block = 0; block < 8; block++)
        {
            (float min, float max) = Range(x.Slice(block * 32, 32));
            minima[block] = -MathF.Min(min, 0);
            scales[block] = (MathF.Max(max, 0) + minima[block]) / top;
        }

        float scale = WriteHalf(to, MaxMagnitude(scales) / 63), minimum = WriteHalf(to[2..], MaxMagnitude(minima) / 63);
        Span<byte> packed = to.Slice(4, 12);
        Span<byte> fifth = top > 15 ? to.Slice(16, 32) : default, nibbles = to[(top > 15 ? 48 : 16)..];
        packed.Clear();
        fifth.Clear();
        nibbles.Clear();
        for (int block = 0; block < 8; block++)
        {
            int s = Nearest(Divide(scales[block], scale), 0, 63), m = Nearest(Divide(minima[block], minimum), 0, 63);
            PackScaleAndMinimum(packed, block, s, m);
            for (int i = 0; i < 32; i++)
            {
                int q = Nearest(Divide(x[(block * 32) + i] + (minimum * m), scale * s), 0, top);
                nibbles[(block / 2 * 32) + i] |= (byte)((q & 15) << (block % 2 * 4));
                if (q > 15)
                {
                    fifth[i] |= (byte)(1 << block);
                }
            }
        }
    }

    /// <summary>Blocks 0..3 keep their 6 bits in one byte each; blocks 4..7 split theirs: 4 bits below, 2 bits on top of the first eight bytes.</summary>
    private static void PackScaleAndMinimum(Span<byte> packed, int block, int scale, int minimum)
    {
        if (block < 4)
        {
            packed[block] |= (byte)scale;
            packed[block + 4] |= (byte)minimum;
        }
        else
        {
            packed[block + 4] = (byte)((scale & 15) | ((minimum & 15) << 4));
            packed[block - 4] |= (byte)(scale >> 4 << 6);
            packed[block] |= (byte)(minimum >> 4 << 6);
        }
    }

    private static void BlockQ6K(ReadOnlySpan<float> x, Span<byte> to)
    {
        Span<float> scales = stackalloc float[16];
        for (int block = 0; block < 16; block++)
        {
            scales[block] = MaxMagnitude(x.Slice(block * 16, 16)) / 31;
        }

        float scale = WriteHalf(to[208..], MaxMagnitude(scales) / 127);
        Span<byte> low = to[..128], high = to.Slice(128, 64), stored = to.Slice(192, 16);
        low.Clear();
        high.Clear();
        for (int i = 0; i < 256; i++)
        {
            int s = Nearest(Divide(scales[i / 16], scale), 0, 127);
            stored[i / 16] = (byte)s;
            int q = Nearest(Divide(x[i], scale * s), -32, 31) + 32;

            // Within a half of 128 values: four runs of 32 share 64 bytes of low nibbles and 32 bytes of high bit pairs.
            int half = i / 128, run = i % 128 / 32, column = i % 32;
            low[(half * 64) + (run % 2 * 32) + column] |= (byte)((q & 15) << (run / 2 * 4));
            high[(half * 32) + column] |= (byte)(q >> 4 << (run * 2));
        }
    }

    private static float Divide(float a, float b) => b == 0 ? 0 : a / b;

    private static int Nearest(float value, int low, int high) => (int)Math.Clamp(MathF.Round(value, MidpointRounding.AwayFromZero), low, high);

    private static float MaxMagnitude(ReadOnlySpan<float> values)
    {
        float largest = 0;
        foreach (float value in values)
        {
            largest = MathF.Max(largest, MathF.Abs(value));
        }

        return largest;
    }

    private static (float Min, float Max) Range(ReadOnlySpan<float> values)
    {
        float min = float.PositiveInfinity, max = float.NegativeInfinity;
        foreach (float value in values)
        {
            min = MathF.Min(min, value);
            max = MathF.Max(max, value);
        }

        return (min, max);
    }

    /// <summary>Stores a float as F16 and returns what was stored.</summary>
    private static float WriteHalf(Span<byte> to, float value)
    {
        Half half = (Half)value;
        BinaryPrimitives.WriteHalfLittleEndian(to, half);
        return (float)half;
    }
}

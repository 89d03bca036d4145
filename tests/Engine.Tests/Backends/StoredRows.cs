using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Tests.Backends;

/// <summary>
/// The plain reading of every weight type, element by element as its definition says, and random content that uses all of a type's
/// codes. Products and sums are f64 and rounded once.
/// </summary>
internal static class StoredRows
{
    public static readonly TensorType[] Types =
    [
        TensorType.F32, TensorType.F16, TensorType.BF16, TensorType.Q8_0, TensorType.Q4_0, TensorType.Q4_1, TensorType.Q4_K, TensorType.Q5_K, TensorType.Q6_K,
    ];

    /// <summary>Random bytes of <paramref name="elements"/> elements with values of order 0.1.</summary>
    public static byte[] Random(TensorType type, int elements, int seed)
    {
        Random random = new(Seeds.Of(seed));
        byte[] bytes = new byte[type.Bytes(elements)];
        random.NextBytes(bytes);
        float[] values = Bench.Values(elements, seed + 1, 0.1f);
        for (int block = 0, at = 0; at < bytes.Length; block++, at += type.BlockBytes())
        {
            Span<byte> to = bytes.AsSpan(at, type.BlockBytes());
            switch (type)
            {
                case TensorType.F32: BitConverter.TryWriteBytes(to, values[block]); break;
                case TensorType.F16: PutHalf(to, values[block]); break;
                case TensorType.BF16: BitConverter.TryWriteBytes(to, (ushort)(BitConverter.SingleToUInt32Bits(values[block]) >> 16)); break;
                case TensorType.Q8_0: PutHalf(to, values[block] / 100); break;
                case TensorType.Q4_0: PutHalf(to, values[block] / 8); break;
                case TensorType.Q4_1:
                    PutHalf(to, values[block] / 8);
                    PutHalf(to[2..], values[block + 1]);
                    break;
                case TensorType.Q4_K or TensorType.Q5_K:
                    PutHalf(to, values[block] / 400);
                    PutHalf(to[2..], values[block + 1] / 200);
                    break;
                default: PutHalf(to[208..], values[block] / 2000); break;
            }
        }

        return bytes;
    }

    public static float[] Decode(TensorType type, byte[] bytes, int elements)
    {
        float[] values = new float[elements];
        for (int i = 0; i < elements; i++)
        {
            (int block, int inBlock) = Math.DivRem(i, type.BlockElements());
            values[i] = (float)Element(type, bytes.AsSpan(block * type.BlockBytes(), type.BlockBytes()), inBlock);
        }

        return values;
    }

    /// <summary>The integer that element <paramref name="i"/> of a quantised block stands for, before its scale.</summary>
    public static int Code(TensorType type, ReadOnlySpan<byte> b, int i) => type switch
    {
        TensorType.Q8_0 => (sbyte)b[2 + i],
        TensorType.Q4_0 => Nibble(b[2 + (i % 16)], i / 16) - 8,
        TensorType.Q4_1 => Nibble(b[4 + (i % 16)], i / 16),
        TensorType.Q4_K => Nibble(b[16 + (i / 64 * 32) + (i % 32)], i / 32 % 2),
        TensorType.Q5_K => Nibble(b[48 + (i / 64 * 32) + (i % 32)], i / 32 % 2) + (16 * ((b[16 + (i % 32)] >> (i / 32)) & 1)),
        TensorType.Q6_K => SixBits(b, i) - 32,
        _ => throw new ArgumentOutOfRangeException(nameof(type)),
    };

    /// <summary>The factor of element <paramref name="i"/>'s code; exact.</summary>
    public static float Scale(TensorType type, ReadOnlySpan<byte> b, int i) => type switch
    {
        TensorType.Q4_K or TensorType.Q5_K => (float)(Half(b) * SixBitPair(b, i / 32).Scale),
        TensorType.Q6_K => (float)(Half(b[208..]) * (sbyte)b[192 + (i / 16)]),
        _ => (float)Half(b),
    };

    /// <summary>What is added to element <paramref name="i"/>'s product, exact; null where a type has no such thing.</summary>
    public static float? Minimum(TensorType type, ReadOnlySpan<byte> b, int i) => type switch
    {
        TensorType.Q4_1 => (float)Half(b[2..]),
        TensorType.Q4_K or TensorType.Q5_K => (float)-(Half(b[2..]) * SixBitPair(b, i / 32).Minimum),
        _ => null,
    };

    private static double Element(TensorType type, ReadOnlySpan<byte> b, int i) => type switch
    {
        TensorType.F32 => BitConverter.ToSingle(b),
        TensorType.F16 => Half(b),
        TensorType.BF16 => BitConverter.UInt32BitsToSingle((uint)BitConverter.ToUInt16(b) << 16),
        _ when Minimum(type, b, i) is float minimum => ((double)Scale(type, b, i) * Code(type, b, i)) + minimum,
        _ => (double)Scale(type, b, i) * Code(type, b, i),
    };

    // Eight scales and minima of 6 bits: the first four of each in the low bits of bytes 0..3 and 4..7; of the others the low nibbles
    // lie in bytes 8..11 (scale low, minimum high) and the upper two bits on top of the first ones.
    private static (int Scale, int Minimum) SixBitPair(ReadOnlySpan<byte> b, int j)
    {
        ReadOnlySpan<byte> s = b.Slice(4, 12);
        return j < 4 ? (s[j] & 63, s[j + 4] & 63) : ((s[j + 4] & 15) + (16 * (s[j - 4] >> 6)), (s[j + 4] >> 4) + (16 * (s[j] >> 6)));
    }

    private static int SixBits(ReadOnlySpan<byte> b, int i)
    {
        int half = i / 128, group = i % 128 / 32, at = i % 32;
        int low = Nibble(b[(64 * half) + (32 * (group % 2)) + at], group / 2);
        int high = (b[128 + (32 * half) + at] >> (2 * group)) & 3;
        return low + (16 * high);
    }

    private static int Nibble(byte value, int high) => high == 0 ? value & 15 : value >> 4;

    private static double Half(ReadOnlySpan<byte> b) => (double)BitConverter.ToHalf(b);

    private static void PutHalf(Span<byte> to, float value) => BitConverter.TryWriteBytes(to, (Half)value);
}

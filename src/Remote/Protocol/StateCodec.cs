using System.Buffers.Binary;
using System.Runtime.InteropServices;
using LowLevelSpec.Models;

namespace LowLevelSpec.Remote.Protocol;

/// <summary>
/// State values on the wire: rows of f32 to bytes and back. Int8 scales each group of <c>groupSize</c> values (a head's key or value) by its own bf16 scale, which
/// is rounded up so that no value is clipped.
/// </summary>
internal static class StateCodec
{
    /// <summary>Bytes of <paramref name="values"/> values, a multiple of the group size.</summary>
    public static int Bytes(Encoding encoding, int values, int groupSize) => encoding switch
    {
        Encoding.F32 => 4 * values,
        Encoding.Bf16 => 2 * values,
        Encoding.Int8 => values + (2 * (values / groupSize)),
        _ => throw new ArgumentOutOfRangeException(nameof(encoding), encoding, "not an encoding"),
    };

    /// <summary>Writes values [rows * row size] as bytes.</summary>
    public static byte[] Encode(Encoding encoding, ReadOnlySpan<float> values, int groupSize)
    {
        byte[] bytes = new byte[Bytes(encoding, values.Length, groupSize)];
        switch (encoding)
        {
            case Encoding.F32:
                MemoryMarshal.AsBytes(values).CopyTo(bytes);
                break;
            case Encoding.Bf16:
                for (int i = 0; i < values.Length; i++)
                {
                    BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(2 * i), ToBf16(values[i]));
                }

                break;
            default:
                for (int group = 0; group < values.Length / groupSize; group++)
                {
                    EncodeGroup(values.Slice(group * groupSize, groupSize), bytes.AsSpan(group * (groupSize + 2), groupSize + 2));
                }

                break;
        }

        return bytes;
    }

    /// <summary>Reads bytes back into values.</summary>
    /// <exception cref="InputException">Another number of bytes than the values take, or a value that is not finite.</exception>
    public static void Decode(Encoding encoding, ReadOnlySpan<byte> bytes, Span<float> values, int groupSize)
    {
        if (bytes.Length != Bytes(encoding, values.Length, groupSize))
        {
            throw new InputException($"the server's state: found {bytes.Length} bytes, expected {Bytes(encoding, values.Length, groupSize)} for {values.Length} values as {encoding}; client and server do not fit together");
        }

        switch (encoding)
        {
            case Encoding.F32:
                bytes.CopyTo(MemoryMarshal.AsBytes(values));
                break;
            case Encoding.Bf16:
                for (int i = 0; i < values.Length; i++)
                {
                    values[i] = FromBf16(BinaryPrimitives.ReadUInt16LittleEndian(bytes[(2 * i)..]));
                }

                break;
            default:
                for (int group = 0; group < values.Length / groupSize; group++)
                {
                    DecodeGroup(bytes.Slice(group * (groupSize + 2), groupSize + 2), values.Slice(group * groupSize, groupSize));
                }

                break;
        }

        foreach (float value in values)
        {
            if (!float.IsFinite(value))
            {
                throw new InputException("the server's state holds a value that is not finite; the target's weights or the link are damaged");
            }
        }
    }

    /// <summary>Nearest bf16, ties to even. Finite values beyond bf16's range become infinite, which <see cref="Decode"/> refuses.</summary>
    private static ushort ToBf16(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return float.IsNaN(value) ? (ushort)0x7FC0 : (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }

    private static float FromBf16(ushort bits) => BitConverter.UInt32BitsToSingle((uint)bits << 16);

    private static void EncodeGroup(ReadOnlySpan<float> values, Span<byte> bytes)
    {
        float largest = 0;
        bool finite = true;
        foreach (float value in values)
        {
            finite &= float.IsFinite(value);
            largest = Math.Max(largest, Math.Abs(value));
        }

        // The next bf16 at or above largest / 127; NaN marks a group that holds something not finite.
        uint bits = BitConverter.SingleToUInt32Bits(largest / 127);
        ushort scale = finite ? (ushort)((bits + 0xFFFF) >> 16) : (ushort)0x7FC0;
        BinaryPrimitives.WriteUInt16LittleEndian(bytes, scale);
        float inverse = finite && scale != 0 ? 1 / FromBf16(scale) : 0;
        for (int i = 0; i < values.Length; i++)
        {
            bytes[2 + i] = (byte)(sbyte)(finite ? Math.Clamp(MathF.Round(values[i] * inverse), -127, 127) : 0);
        }
    }

    private static void DecodeGroup(ReadOnlySpan<byte> bytes, Span<float> values)
    {
        float scale = FromBf16(BinaryPrimitives.ReadUInt16LittleEndian(bytes));
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = scale * (sbyte)bytes[2 + i];
        }
    }
}

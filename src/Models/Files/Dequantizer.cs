using System.Buffers.Binary;

namespace LowLevelSpec.Models;

/// <summary>
/// Decodes weights one element at a time, exactly by ggml's block layouts: the oracle that vectorised kernels are compared with.
/// </summary>
public static class Dequantizer
{
    /// <summary>Decodes logical row <paramref name="logicalRow"/> (Hugging Face order) of a matrix, or a whole vector (row 0).</summary>
    /// <param name="tensor">[rows, columns] or [columns] of a weight type.</param>
    /// <param name="logicalRow">Row in Hugging Face order; interleaved heads are undone, in vectors element by element.</param>
    /// <param name="destination">At least <see cref="TensorView.Columns"/> floats.</param>
    public static unsafe void Row(TensorView tensor, int logicalRow, Span<float> destination)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        ArgumentOutOfRangeException.ThrowIfNegative(logicalRow);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(logicalRow, tensor.Rows);
        int columns = tensor.Columns;
        ArgumentOutOfRangeException.ThrowIfLessThan(destination.Length, columns);
        bool vector = tensor.Shape.Count <= 1;
        int stored = vector ? 0 : tensor.StoredRow(logicalRow);
        ReadOnlySpan<byte> bytes = new((byte*)tensor.Data + (stored * tensor.RowBytes), checked((int)tensor.RowBytes));
        if (!vector || tensor.InterleavedHeads == 0)
        {
            Decode(tensor.Type, bytes, destination[..columns]);
            return;
        }

        float[] inFileOrder = new float[columns];
        Decode(tensor.Type, bytes, inFileOrder);
        for (int i = 0; i < columns; i++)
        {
            destination[i] = inFileOrder[tensor.StoredRow(i)];
        }
    }

    /// <summary>Decodes a whole tensor in Hugging Face order.</summary>
    /// <returns>Row-major floats, <see cref="TensorView.Elements"/> of them.</returns>
    public static float[] All(TensorView tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        float[] values = new float[tensor.Elements];
        for (int row = 0; row < tensor.Rows; row++)
        {
            Row(tensor, row, values.AsSpan(row * tensor.Columns, tensor.Columns));
        }

        return values;
    }

    /// <summary>Decodes consecutive blocks.</summary>
    /// <param name="type">A weight type.</param>
    /// <param name="source">The stored bytes of <paramref name="destination"/>.Length elements.</param>
    /// <param name="destination">A multiple of the type's block length.</param>
    public static void Decode(TensorType type, ReadOnlySpan<byte> source, Span<float> destination)
    {
        int block = type.BlockElements(), bytes = type.BlockBytes();
        if (destination.Length % block != 0 || source.Length < type.Bytes(destination.Length))
        {
            throw new ArgumentException($"{destination.Length} elements of {type} do not fit {source.Length} bytes", nameof(destination));
        }

        for (int i = 0; i < destination.Length / block; i++)
        {
            ReadOnlySpan<byte> from = source.Slice(i * bytes, bytes);
            Span<float> to = destination.Slice(i * block, block);
            switch (type)
            {
                case TensorType.F32: to[0] = BinaryPrimitives.ReadSingleLittleEndian(from); break;
                case TensorType.F16: to[0] = Half(from); break;
                case TensorType.BF16: to[0] = BitConverter.UInt32BitsToSingle((uint)BinaryPrimitives.ReadUInt16LittleEndian(from) << 16); break;
                case TensorType.Q8_0: BlockQ8_0(from, to); break;
                case TensorType.Q4_0: BlockQ4_0(from, to); break;
                case TensorType.Q4_1: BlockQ4_1(from, to); break;
                case TensorType.Q4_K: BlockQ4K(from, to); break;
                case TensorType.Q5_K: BlockQ5K(from, to); break;
                case TensorType.Q6_K: BlockQ6K(from, to); break;
                default: throw new ArgumentException($"{type} is not a weight type", nameof(type));
            }
        }
    }

    private static void BlockQ8_0(ReadOnlySpan<byte> from, Span<float> to)
    {
        float scale = Half(from);
        for (int i = 0; i < 32; i++)
        {
            to[i] = scale * (sbyte)from[2 + i];
        }
    }

    private static void BlockQ4_0(ReadOnlySpan<byte> from, Span<float> to)
    {
        float scale = Half(from);
        for (int i = 0; i < 16; i++)
        {
            to[i] = scale * ((from[2 + i] & 15) - 8);
            to[i + 16] = scale * ((from[2 + i] >> 4) - 8);
        }
    }

    private static void BlockQ4_1(ReadOnlySpan<byte> from, Span<float> to)
    {
        float scale = Half(from), minimum = Half(from[2..]);
        for (int i = 0; i < 16; i++)
        {
            to[i] = (scale * (from[4 + i] & 15)) + minimum;
            to[i + 16] = (scale * (from[4 + i] >> 4)) + minimum;
        }
    }

    private static void BlockQ4K(ReadOnlySpan<byte> from, Span<float> to)
    {
        float scale = Half(from), minimum = Half(from[2..]);
        ReadOnlySpan<byte> packed = from.Slice(4, 12), nibbles = from[16..];
        for (int block = 0; block < 8; block++)
        {
            (int s, int m) = ScaleAndMinimum(packed, block);
            float step = scale * s, offset = minimum * m;
            for (int i = 0; i < 32; i++)
            {
                int q = (nibbles[(block / 2 * 32) + i] >> (block % 2 * 4)) & 15;
                to[(block * 32) + i] = (step * q) - offset;
            }
        }
    }

    private static void BlockQ5K(ReadOnlySpan<byte> from, Span<float> to)
    {
        float scale = Half(from), minimum = Half(from[2..]);
        ReadOnlySpan<byte> packed = from.Slice(4, 12), fifth = from.Slice(16, 32), nibbles = from[48..];
        for (int block = 0; block < 8; block++)
        {
            (int s, int m) = ScaleAndMinimum(packed, block);
            float step = scale * s, offset = minimum * m;
            for (int i = 0; i < 32; i++)
            {
                int q = ((nibbles[(block / 2 * 32) + i] >> (block % 2 * 4)) & 15) | (((fifth[i] >> block) & 1) << 4);
                to[(block * 32) + i] = (step * q) - offset;
            }
        }
    }

    private static void BlockQ6K(ReadOnlySpan<byte> from, Span<float> to)
    {
        ReadOnlySpan<byte> low = from[..128], high = from.Slice(128, 64), scales = from.Slice(192, 16);
        float scale = Half(from[208..]);
        for (int i = 0; i < 256; i++)
        {
            int half = i / 128, run = i % 128 / 32, column = i % 32;
            int nibble = (low[(half * 64) + (run % 2 * 32) + column] >> (run / 2 * 4)) & 15;
            int top = (high[(half * 32) + column] >> (run * 2)) & 3;
            to[i] = scale * (sbyte)scales[i / 16] * ((nibble | (top << 4)) - 32);
        }
    }

    /// <summary>The 6-bit scale and minimum of one of the 8 blocks of a Q4_K or Q5_K super-block, see the packing in <see cref="Quantizer"/>.</summary>
    /// <param name="packed">The 12 bytes that hold them.</param>
    /// <param name="block">0..7.</param>
    public static (int Scale, int Minimum) ScaleAndMinimum(ReadOnlySpan<byte> packed, int block) => block < 4
        ? (packed[block] & 63, packed[block + 4] & 63)
        : ((packed[block + 4] & 15) | (packed[block - 4] >> 6 << 4), (packed[block + 4] >> 4) | (packed[block] >> 6 << 4));

    private static float Half(ReadOnlySpan<byte> from) => (float)BinaryPrimitives.ReadHalfLittleEndian(from);
}

using System.Buffers.Binary;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cuda;

/// <summary>Takes stored rows of quantised weights apart: a code per element, a scale and an offset per 32 of them; value = scale * code + offset (4-bit without offset: code - 8).</summary>
internal static class QuantRows
{
    private const int Block = 32;

    /// <summary>Unpacks a row.</summary>
    /// <param name="type">Q8_0, Q4_0, Q4_1, Q4_K or Q5_K.</param>
    /// <param name="from">The stored row.</param>
    /// <param name="codes">A byte per element.</param>
    /// <param name="scales">One per 32 elements.</param>
    /// <param name="offsets">One per 32 elements; left alone by types without.</param>
    public static void Unpack(TensorType type, ReadOnlySpan<byte> from, Span<byte> codes, Span<float> scales, Span<float> offsets)
    {
        int size = type.BlockBytes(), elements = type.BlockElements();
        for (int i = 0; i * elements < codes.Length; i++)
        {
            ReadOnlySpan<byte> block = from.Slice(i * size, size);
            Span<byte> to = codes.Slice(i * elements, elements);
            switch (type)
            {
                case TensorType.Q8_0:
                    scales[i] = Half(block);
                    block.Slice(2, Block).CopyTo(to);
                    break;
                case TensorType.Q4_0:
                    scales[i] = Half(block);
                    Nibbles(block[2..], to);
                    break;
                case TensorType.Q4_1:
                    (scales[i], offsets[i]) = (Half(block), Half(block[2..]));
                    Nibbles(block[4..], to);
                    break;
                case TensorType.Q4_K:
                    SuperBlock(block, block[16..], [], to, scales.Slice(8 * i, 8), offsets.Slice(8 * i, 8));
                    break;
                case TensorType.Q5_K:
                    SuperBlock(block, block[48..], block.Slice(16, Block), to, scales.Slice(8 * i, 8), offsets.Slice(8 * i, 8));
                    break;
                default:
                    throw new ArgumentException($"{type} does not come in blocks of 32", nameof(type));
            }
        }
    }

    private static void Nibbles(ReadOnlySpan<byte> from, Span<byte> to)
    {
        for (int i = 0; i < Block / 2; i++)
        {
            to[i] = (byte)(from[i] & 15);
            to[i + (Block / 2)] = (byte)(from[i] >> 4);
        }
    }

    private static void SuperBlock(ReadOnlySpan<byte> block, ReadOnlySpan<byte> nibbles, ReadOnlySpan<byte> fifth, Span<byte> to, Span<float> scales, Span<float> offsets)
    {
        float scale = Half(block), minimum = Half(block[2..]);
        for (int b = 0; b < 8; b++)
        {
            (int s, int m) = Dequantizer.ScaleAndMinimum(block.Slice(4, 12), b);
            (scales[b], offsets[b]) = (scale * s, -(minimum * m));
            for (int i = 0; i < Block; i++)
            {
                int code = (nibbles[(b / 2 * Block) + i] >> (b % 2 * 4)) & 15;
                to[(b * Block) + i] = (byte)(fifth.IsEmpty ? code : code | (((fifth[i] >> b) & 1) << 4));
            }
        }
    }

    private static float Half(ReadOnlySpan<byte> from) => (float)BinaryPrimitives.ReadHalfLittleEndian(from);
}

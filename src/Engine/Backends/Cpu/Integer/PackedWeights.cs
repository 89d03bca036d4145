using System.Runtime.CompilerServices;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>
/// A quantised weight in the order that the integer kernels stream: groups of 16 outputs, in them blocks of 32 inputs. A group has first the scales
/// (and minima) of all blocks as halves, 16 per block, rounded up to whole cache lines, then the blocks' words of 4 bytes, one per output: word (quad j, output o) has
/// the four elements 4j..4j+3 of output o. So every load of a quad lies within a line. Q8_0: eight quads of bytes, 128 added. Q4_0, Q4_1: four quads of bytes whose low nibbles are quad j, high nibbles quad
/// j + 4. K types: <see cref="PackedSuperBlocks"/>. Outputs beyond the last are zeros. Rows stored with interleaved RoPE pairs come in logical order.
/// </summary>
internal sealed unsafe class PackedWeights
{
    /// <summary>Outputs of a group.</summary>
    public const int GroupOutputs = 16;

    /// <summary>The stream of weights is asked for this many bytes ahead: the processor's own prefetcher stops at the end of each page.</summary>
    public const int PrefetchDistance = 8192;

    private const int Line = 64;

    private PackedWeights(CpuWeight weight, int quadsAt, long groupBytes, WeightArena arena)
    {
        QuadsAt = quadsAt;
        Blocks = weight.StoredColumns / 32;
        Groups = (weight.Rows + GroupOutputs - 1) / GroupOutputs;
        GroupBytes = groupBytes;
        Data = arena.Take(Groups * GroupBytes, $"the repacked weight {weight.Name}");
    }

    /// <summary>Blocks of 32 inputs.</summary>
    public int Blocks { get; }

    /// <summary>Groups of outputs.</summary>
    public int Groups { get; }

    /// <summary>Bytes of a group.</summary>
    public long GroupBytes { get; }

    /// <summary>Bytes of a group before its quads: scales and minima of all blocks; 0 where these lie among them.</summary>
    public int QuadsAt { get; }

    /// <summary>First group.</summary>
    public byte* Data { get; }

    /// <summary>Whether <paramref name="type"/> has integer kernels.</summary>
    public static bool Supports(TensorType type) => type is TensorType.Q8_0 or TensorType.Q4_0 or TensorType.Q4_1 || SuperBits(type) != 0;

    /// <summary>The layout in which kernels of <paramref name="type"/> want their inputs; <paramref name="ints"/>: products of bytes are collected as ints.</summary>
    public static InputFormat InputFormatOf(TensorType type, bool ints) => type switch
    {
        TensorType.Q8_0 when ints => InputFormat.BytesOffset128,
        TensorType.Q8_0 => InputFormat.ShortsOffset128,
        TensorType.Q4_0 => InputFormat.BytesOffset8,
        TensorType.Q4_1 or TensorType.Q4_K or TensorType.Q5_K => InputFormat.BytesWithSum,
        TensorType.Q6_K => InputFormat.BytesHalvesOffset32,
        _ => throw new ArgumentException($"{type} has no integer kernels"),
    };

    /// <summary>Bytes before the quads of a group of <paramref name="blocks"/> blocks with <paramref name="halvesBytes"/> of scales and minima each.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int HeaderBytes(int halvesBytes, int blocks) => ((halvesBytes * blocks) + Line - 1) & -Line;

    /// <summary>Bytes of scales and minima of a block of 16 outputs; types in single blocks only.</summary>
    public static int HalvesBytes(TensorType type) => type == TensorType.Q4_1 ? 64 : 32;

    /// <summary>Bytes of a group of <paramref name="blocks"/> stored blocks.</summary>
    public static long BytesOfGroup(TensorType type, int blocks) => SuperBits(type) is int bits and not 0
        ? blocks * (long)PackedSuperBlocks.Bytes(bits)
        : HeaderBytes(HalvesBytes(type), blocks) + (blocks * (long)QuadBytes(type));

    /// <summary>Repacks a weight into <paramref name="arena"/>, which keeps it.</summary>
    public static PackedWeights Create(CpuWeight weight, WeightArena arena)
    {
        int bits = SuperBits(weight.Type), storedBytes = weight.Type.BlockBytes(), storedBlocks = weight.StoredColumns / weight.Type.BlockElements();
        int header = bits == 0 ? HeaderBytes(HalvesBytes(weight.Type), storedBlocks) : 0, blockBytes = bits == 0 ? QuadBytes(weight.Type) : PackedSuperBlocks.Bytes(bits);
        PackedWeights packed = new(weight, header, BytesOfGroup(weight.Type, storedBlocks), arena);
        for (int output = 0; output < weight.Rows; output++)
        {
            (int group, int lane) = Math.DivRem(output, GroupOutputs);
            byte* from = weight.Data + (weight.StoredRow(output) * weight.RowBytes), start = packed.Data + (group * packed.GroupBytes), to = start + header;
            for (int block = 0; block < storedBlocks; block++, from += storedBytes, to += blockBytes)
            {
                if (bits == 0)
                {
                    PackBlock(weight.Type, from, start + (block * (long)HalvesBytes(weight.Type)), to, lane);
                }
                else
                {
                    PackedSuperBlocks.Pack(bits, from, to, lane);
                }
            }
        }

        return packed;
    }

    /// <summary>Whether no block has an infinity or NaN as scale or minimum.</summary>
    public static bool HasFiniteScales(CpuWeight weight)
    {
        int first = weight.Type == TensorType.Q6_K ? 208 : 0, halves = weight.Type is TensorType.Q4_1 or TensorType.Q4_K or TensorType.Q5_K ? 2 : 1;
        int blockBytes = weight.Type.BlockBytes();
        byte* end = weight.Data + (weight.Rows * weight.RowBytes);
        for (byte* block = weight.Data; block < end; block += blockBytes)
        {
            for (int half = 0; half < halves; half++)
            {
                if ((Unsafe.ReadUnaligned<ushort>(block + first + (2 * half)) & 0x7c00) == 0x7c00)
                {
                    return false;
                }
            }
        }

        return true;
    }

    /// <summary>Bits per element of a type in super-blocks, else 0.</summary>
    public static int SuperBits(TensorType type) => type switch
    {
        TensorType.Q4_K => 4,
        TensorType.Q5_K => 5,
        TensorType.Q6_K => 6,
        _ => 0,
    };

    /// <summary>Bytes of the quads of a block of 16 outputs.</summary>
    private static int QuadBytes(TensorType type) => type == TensorType.Q8_0 ? 512 : 256;

    private static void PackBlock(TensorType type, byte* from, byte* scales, byte* to, int lane)
    {
        int halves = type == TensorType.Q4_1 ? 2 : 1, quads = (type.BlockBytes() - (2 * halves)) / 4;
        uint flip = type == TensorType.Q8_0 ? 0x80808080 : 0;
        for (int half = 0; half < halves; half++)
        {
            ((ushort*)scales)[(half * GroupOutputs) + lane] = Unsafe.ReadUnaligned<ushort>(from + (2 * half));
        }

        uint* words = (uint*)to + lane;
        for (int quad = 0; quad < quads; quad++)
        {
            words[quad * GroupOutputs] = Unsafe.ReadUnaligned<uint>(from + (2 * halves) + (4 * quad)) ^ flip;
        }
    }
}

using System.Runtime.CompilerServices;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>
/// A quantised weight in the order that the integer kernels stream: groups of 16 outputs, in them blocks of 32 inputs. A block has the outputs' scales
/// (and minima) as halves, then words of 4 bytes, one per output: word (quad j, output o) has the four elements 4j..4j+3 of
/// output o. Q8_0: eight quads of bytes, 128 added. Q4_0, Q4_1: four quads of bytes whose low nibbles are quad j, high nibbles quad
/// j + 4. Outputs beyond the last are zeros. Rows stored with interleaved RoPE pairs come in logical order.
/// </summary>
internal sealed unsafe class PackedWeights : IDisposable
{
    /// <summary>Outputs of a group.</summary>
    public const int GroupOutputs = 16;

    private readonly NativeBlock _block;

    private PackedWeights(CpuWeight weight, int blockBytes)
    {
        Blocks = weight.Columns / 32;
        Groups = (weight.Rows + GroupOutputs - 1) / GroupOutputs;
        GroupBytes = (long)Blocks * blockBytes;
        _block = new NativeBlock(Groups * GroupBytes, $"the repacked weight {weight.Name}");
    }

    /// <summary>Blocks of 32 inputs.</summary>
    public int Blocks { get; }

    /// <summary>Groups of outputs.</summary>
    public int Groups { get; }

    /// <summary>Bytes of a group.</summary>
    public long GroupBytes { get; }

    /// <summary>First group.</summary>
    public byte* Data => _block.Pointer;

    /// <summary>Whether <paramref name="type"/> has integer kernels.</summary>
    public static bool Supports(TensorType type) => type is TensorType.Q8_0 or TensorType.Q4_0 or TensorType.Q4_1;

    /// <summary>Whether the native library has tiles of <paramref name="type"/>.</summary>
    public static bool HasNative(TensorType type) => type is TensorType.Q8_0 or TensorType.Q4_0 or TensorType.Q4_1;

    /// <summary>The layout in which kernels of <paramref name="type"/> want their inputs.</summary>
    public static InputFormat InputFormatOf(TensorType type, bool native) => type switch
    {
        TensorType.Q8_0 when native => InputFormat.BytesOffset128,
        TensorType.Q8_0 => InputFormat.ShortsOffset128,
        TensorType.Q4_0 => InputFormat.BytesOffset8,
        TensorType.Q4_1 => InputFormat.BytesWithSum,
        _ => throw new ArgumentException($"{type} has no integer kernels"),
    };

    /// <summary>Repacks a weight.</summary>
    public static PackedWeights Create(CpuWeight weight)
    {
        int headerHalves = weight.Type == TensorType.Q4_1 ? 2 : 1, storedBytes = weight.Type.BlockBytes();
        int quads = (storedBytes - (2 * headerHalves)) / 4, blockBytes = GroupOutputs * storedBytes;
        uint flip = weight.Type == TensorType.Q8_0 ? 0x80808080 : 0;
        PackedWeights packed = new(weight, blockBytes);
        for (int output = 0; output < weight.Rows; output++)
        {
            (int group, int lane) = Math.DivRem(output, GroupOutputs);
            byte* from = weight.Data + (weight.StoredRow(output) * weight.RowBytes), to = packed.Data + (group * packed.GroupBytes);
            for (int block = 0; block < packed.Blocks; block++, from += storedBytes, to += blockBytes)
            {
                for (int half = 0; half < headerHalves; half++)
                {
                    ((ushort*)to)[(half * GroupOutputs) + lane] = Unsafe.ReadUnaligned<ushort>(from + (2 * half));
                }

                uint* words = (uint*)(to + (2 * headerHalves * GroupOutputs)) + lane;
                for (int quad = 0; quad < quads; quad++)
                {
                    words[quad * GroupOutputs] = Unsafe.ReadUnaligned<uint>(from + (2 * headerHalves) + (4 * quad)) ^ flip;
                }
            }
        }

        return packed;
    }

    public void Dispose() => _block.Dispose();
}

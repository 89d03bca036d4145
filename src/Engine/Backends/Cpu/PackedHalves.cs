using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>
/// A weight of 16-bit floats in the order that the native tile streams: groups of 4 outputs, in them blocks of 32 inputs, in those each output's 32 elements.
/// Outputs beyond the last are zeros. Rows stored with interleaved RoPE pairs come in logical order.
/// </summary>
internal sealed unsafe class PackedHalves
{
    /// <summary>Outputs of a group.</summary>
    public const int GroupOutputs = 4;

    private const int BlockElements = 32, BlockBytes = BlockElements * sizeof(ushort);

    private PackedHalves(CpuWeight weight, WeightArena arena)
    {
        Blocks = weight.Columns / BlockElements;
        Groups = (weight.Rows + GroupOutputs - 1) / GroupOutputs;
        GroupBytes = (long)Blocks * GroupOutputs * BlockBytes;
        Data = arena.Take(Groups * GroupBytes, $"the repacked weight {weight.Name}");
    }

    /// <summary>Blocks of 32 inputs.</summary>
    public int Blocks { get; }

    /// <summary>Groups of outputs.</summary>
    public int Groups { get; }

    /// <summary>Bytes of a group.</summary>
    public long GroupBytes { get; }

    /// <summary>First group.</summary>
    public byte* Data { get; }

    /// <summary>Whether the native tile multiplies with <paramref name="weight"/>.</summary>
    public static bool Supports(CpuWeight weight) => weight.Type is TensorType.F16 or TensorType.BF16 && weight.Columns % BlockElements == 0;

    /// <summary>Repacks a weight into <paramref name="arena"/>, which keeps it.</summary>
    public static PackedHalves Create(CpuWeight weight, WeightArena arena)
    {
        PackedHalves packed = new(weight, arena);
        for (int output = 0; output < weight.Rows; output++)
        {
            (int group, int lane) = Math.DivRem(output, GroupOutputs);
            byte* from = weight.Data + (weight.StoredRow(output) * weight.RowBytes), to = packed.Data + (group * packed.GroupBytes) + (lane * BlockBytes);
            for (int block = 0; block < packed.Blocks; block++, from += BlockBytes, to += GroupOutputs * BlockBytes)
            {
                Buffer.MemoryCopy(from, to, BlockBytes, BlockBytes);
            }
        }

        return packed;
    }
}

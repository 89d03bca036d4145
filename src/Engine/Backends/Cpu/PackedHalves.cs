using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>
/// A weight [O, I] of 16-bit floats in the order that its tiles stream: groups of 32 outputs, in them input by input the 32 outputs' elements, which are a cache line.
/// Outputs beyond the last are zeros. Rows stored with interleaved RoPE pairs come in logical order.
/// </summary>
internal sealed unsafe class PackedHalves
{
    /// <summary>Outputs of a group.</summary>
    public const int GroupOutputs = 32;

    private PackedHalves(CpuWeight weight, WeightArena arena)
    {
        Inputs = weight.Columns;
        Groups = (weight.Rows + GroupOutputs - 1) / GroupOutputs;
        GroupBytes = (long)Inputs * GroupOutputs * sizeof(ushort);
        Data = arena.Take(Groups * GroupBytes, $"the repacked weight {weight.Name}");
    }

    /// <summary>I.</summary>
    public int Inputs { get; }

    /// <summary>Groups of outputs.</summary>
    public int Groups { get; }

    /// <summary>Bytes of a group.</summary>
    public long GroupBytes { get; }

    /// <summary>First group.</summary>
    public byte* Data { get; }

    /// <summary>Whether the tiles multiply with <paramref name="weight"/>.</summary>
    public static bool Supports(CpuWeight weight) => weight.Type is TensorType.F16 or TensorType.BF16;

    /// <summary>Repacks a weight into <paramref name="arena"/>, which keeps it.</summary>
    public static PackedHalves Create(CpuWeight weight, WeightArena arena)
    {
        PackedHalves packed = new(weight, arena);
        for (int group = 0; group < packed.Groups; group++)
        {
            ushort* to = (ushort*)(packed.Data + (group * packed.GroupBytes));
            for (int lane = 0; lane < GroupOutputs; lane++)
            {
                int output = (group * GroupOutputs) + lane;
                ushort* from = output < weight.Rows ? (ushort*)(weight.Data + (weight.StoredRow(output) * weight.RowBytes)) : null;
                for (nint input = 0; input < packed.Inputs; input++)
                {
                    to[(input * GroupOutputs) + lane] = from is null ? (ushort)0 : from[input];
                }
            }
        }

        return packed;
    }
}

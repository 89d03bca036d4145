namespace LowLevelSpec.Models;

/// <summary>What a file says about one tensor, also for storage types that the engine cannot compute with.</summary>
/// <param name="Name">Name in the file.</param>
/// <param name="Type">Storage type as the format names it, e.g. "BF16", "Q4_K", "I32".</param>
/// <param name="Shape">Dimensions, outermost first.</param>
/// <param name="ByteLength">Bytes of its data.</param>
/// <param name="FilePath">The file (shard) that holds it.</param>
public sealed record TensorInfo(string Name, string Type, IReadOnlyList<long> Shape, long ByteLength, string FilePath)
{
    /// <summary>Number of elements.</summary>
    public long Elements => Shape.Aggregate(1L, static (a, b) => a * b);
}

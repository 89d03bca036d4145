using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends;

/// <summary>
/// Bytes that an operation touches at least once and floating-point operations it needs, from its shapes. A fused multiply-add
/// counts as two; an exponential as one. Activations are f32. Letters as in <see cref="IBackend"/>.
/// </summary>
public static class OperationCosts
{
    /// <summary>output [n, O] = weight [O, I] . input [n, I].</summary>
    public static OperationCost MatMul(TensorType type, int rows, int columns, int outputs) => new(
        (type.Bytes(columns) * outputs) + (4L * rows * ((long)columns + outputs)),
        2L * rows * columns * outputs);

    /// <summary>
    /// Attention in which all rows together see <paramref name="keys"/> keys (counted per row), shared loads counted once per row; keys and values have
    /// <paramref name="elementBytes"/> bytes per element.
    /// </summary>
    public static OperationCost Attention(long keys, int heads, int kvHeads, int headSize, int elementBytes = sizeof(float)) => new(
        2L * elementBytes * keys * kvHeads * headSize,
        ((4L * headSize) + 4) * keys * heads);

    /// <summary>Unmasked attention inside groups of <paramref name="groupRows"/> rows.</summary>
    public static OperationCost GroupAttention(int groups, int groupRows, int heads, int kvHeads, int headSize) => new(
        8L * groups * groupRows * ((long)heads + kvHeads) * headSize,
        ((4L * headSize) + 4) * groups * groupRows * groupRows * heads);

    /// <summary>[n, E] in, [n, E] out.</summary>
    public static OperationCost RmsNorm(int rows, int columns) => new((8L * rows * columns) + (4L * columns), 4L * rows * columns);

    /// <summary>[n, F] twice in, once out.</summary>
    public static OperationCost SwiGlu(int rows, int columns) => new(12L * rows * columns, 5L * rows * columns);

    /// <summary>[n, heads*D] in place.</summary>
    public static OperationCost Rope(int rows, int columns) => new(8L * rows * columns, 3L * rows * columns);

    /// <summary>[groups*L, C] in, [groups, C] out.</summary>
    public static OperationCost GroupMean(int groups, int groupRows, int columns) =>
        new(4L * groups * ((long)groupRows + 1) * columns, (long)groups * groupRows * columns);

    /// <summary>[n, V] in.</summary>
    public static OperationCost TopLogProbabilities(int rows, int vocabulary) => new(4L * rows * vocabulary, 4L * rows * vocabulary);

    /// <summary>n rows of a table of <paramref name="type"/> in, [n, E] out.</summary>
    public static OperationCost Embed(TensorType type, int rows, int columns) => new(rows * (type.Bytes(columns) + (4L * columns)), 0);
}

using System.Numerics;
using LowLevelSpec.Training.Compute;

namespace LowLevelSpec.Training.Layers;

/// <summary>Rows of a table by token. table [V, E].</summary>
internal static class Embedding
{
    /// <summary>output[i] = table[tokens[i]], in columns [column, column + E) of output [n, at least E].</summary>
    public static void Forward<T>(Parameter<T> table, ReadOnlySpan<int> tokens, Tensor<T> output, int column = 0) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        for (int i = 0; i < tokens.Length; i++)
        {
            table.Value.Row(tokens[i]).CopyTo(output.Row(i)[column..]);
        }
    }

    /// <summary>Gradient of a trainable table: row tokens[i] += d[i]. Nothing for a frozen one.</summary>
    public static unsafe void Backward<T>(Parameter<T> table, ReadOnlySpan<int> tokens, Tensor<T> d) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        if (table.Gradient is not { } gradient)
        {
            return;
        }

        d.Expect(tokens.Length, gradient.Columns, "d");
        for (int i = 0; i < tokens.Length; i++)
        {
            Simd.AddScaled(d.Data + ((long)i * d.Columns), T.One, gradient.Data + ((long)tokens[i] * d.Columns), d.Columns);
        }
    }
}

using System.Numerics;
using System.Runtime.Intrinsics;
using LowLevelSpec.Training.Compute;

namespace LowLevelSpec.Training.Layers;

/// <summary>
/// Gradients of matrices behind an RMSNorm whose input needs none, and of the norm's gain without its rows' gradients: with x = u g (u the normed input,
/// g the gain) and y = x W^T, dW = dy^T x, and dg[c] = sum over o of W[o, c] dW[o, c] / g[c]. That saves the products dy W, a third of such a layer's backward pass.
/// </summary>
internal static unsafe class GainFromWeights
{
    /// <summary>Whether the division is possible: the gain is trainable and none of its elements is zero.</summary>
    public static bool Possible<T>(Parameter<T> gain) where T : unmanaged, IBinaryFloatingPointIeee754<T> =>
        gain.Gradient is not null && !gain.Value.Span.Contains(T.Zero);

    /// <summary>Adds all gradients.</summary>
    /// <param name="arena">For temporary memory, given back.</param>
    /// <param name="x">Input of the matrices: u g [n, E].</param>
    /// <param name="gain">The norm's gain [1, E].</param>
    /// <param name="matrices">Trainable weight [O, E], bias [1, O] or null, gradient of the output [n, O].</param>
    public static void Add<T>(Arena<T> arena, Tensor<T> x, Parameter<T> gain, ReadOnlySpan<(Parameter<T> Weight, Parameter<T>? Bias, Tensor<T> Output)> matrices)
        where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int e = x.Columns;
        ArenaMark mark = arena.Mark();
        Tensor<T> sums = arena.Zeros(1, e);
        foreach ((Parameter<T> weight, Parameter<T>? bias, Tensor<T> dy) in matrices)
        {
            ArenaMark inner = arena.Mark();
            Tensor<T> dw = arena.Allocate(dy.Columns, e);
            Gemm.TN(dy, x, dw);
            for (int o = 0; o < dw.Rows; o++)
            {
                AddProducts(weight.Value.Data + ((long)o * e), dw.Data + ((long)o * e), sums.Data, e);
            }

            Simd.AddScaled(dw.Data, T.One, weight.Gradient!.Data, dw.Length);
            if (bias?.Gradient is not null)
            {
                ColumnSums.Add(dy, bias.Gradient);
            }

            arena.Release(inner);
        }

        for (int c = 0; c < e; c++)
        {
            gain.Gradient!.Data[c] += sums.Data[c] / gain.Value.Data[c];
        }

        arena.Release(mark);
    }

    /// <summary>sums[c] += w[c] * dw[c].</summary>
    private static void AddProducts<T>(T* w, T* dw, T* sums, int count) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int c = 0;
        for (; c <= count - Vector256<T>.Count; c += Vector256<T>.Count)
        {
            Simd.Fma(Vector256.Load(w + c), Vector256.Load(dw + c), Vector256.Load(sums + c)).Store(sums + c);
        }

        for (; c < count; c++)
        {
            sums[c] += w[c] * dw[c];
        }
    }
}

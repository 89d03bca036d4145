using System.Numerics;
using LowLevelSpec.Training.Compute;

namespace LowLevelSpec.Training.Optimisation;

/// <summary>
/// Muon (Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024): a matrix moves along the nearest semi-orthogonal matrix
/// of its Nesterov momentum, found by five Newton-Schulz iterations, so that rare directions of a layer learn as fast as common ones. The step is
/// scaled by 0.2 sqrt(max(rows, columns)) (Liu et al., "Muon is scalable for LLM training", 2025), which gives it about the size of AdamW's: rates
/// carry over. Norms, biases, embeddings and heads are AdamW's.
/// </summary>
internal sealed unsafe class Muon<T> : AdamW<T> where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    private const double Momentum = 0.95, Size = 0.2;

    private const int Iterations = 5, Block = 1 << 14;

    /// <summary>Coefficients of X, (X X^T) X and (X X^T)^2 X: singular values from 1e-2 on end between 0.7 and 1.2 after five iterations.</summary>
    private const double Linear = 3.4445, Cubic = -4.7750, Quintic = 2.0315;

    private readonly AdamWOptions _options;
    private readonly Arena<T> _arena = new();

    /// <param name="parameters">Trainable weights.</param>
    /// <param name="options">Of the weights that are AdamW's; the weight decay is everyone's.</param>
    public Muon(IReadOnlyList<Parameter<T>> parameters, AdamWOptions options)
        : base(parameters, options) => _options = options;

    /// <summary>Whether a weight is a matrix between hidden states.</summary>
    public static bool Orthogonalised(Parameter<T> parameter) =>
        parameter.Shape.Count == 2 && !parameter.Name.EndsWith("embed_tokens.weight", StringComparison.Ordinal) && !parameter.Name.EndsWith("lm_head.weight", StringComparison.Ordinal);

    /// <summary>Replaces x [r, c] by an approximation of the nearest semi-orthogonal matrix U V^T of its singular value decomposition.</summary>
    public static void Orthogonalise(Arena<T> arena, Tensor<T> x)
    {
        ArenaMark mark = arena.Mark();
        bool tall = x.Rows > x.Columns;
        int n = Math.Min(x.Rows, x.Columns);
        Tensor<T> gram = arena.Allocate(n, n), square = arena.Allocate(n, n), next = arena.Allocate(x.Rows, x.Columns);
        Simd.Scale(x.Data, T.CreateTruncating(1 / (GradientClipping.Norm(x) + 1e-7)), x.Length);
        for (int i = 0; i < Iterations; i++)
        {
            if (tall)
            {
                Gemm.TN(x, x, gram);
            }
            else
            {
                Gemm.NT(x, x, gram);
            }

            Gemm.NN(gram, gram, square);
            Mix(gram, T.CreateTruncating(Cubic), square, T.CreateTruncating(Quintic));
            if (tall)
            {
                Gemm.NN(x, gram, next);
            }
            else
            {
                Gemm.NN(gram, x, next);
            }

            Mix(x, T.CreateTruncating(Linear), next, T.One);
        }

        arena.Release(mark);
    }

    /// <inheritdoc/>
    protected override bool Advance(int index, double learningRate)
    {
        Parameter<T> parameter = Parameters[index];
        if (!Orthogonalised(parameter))
        {
            return false;
        }

        ArenaMark mark = _arena.Mark();
        Tensor<T> momentum = First[index], step = _arena.Allocate(parameter.Value.Rows, parameter.Value.Columns);
        Mix(momentum, T.CreateTruncating(Momentum), parameter.Gradient!, T.CreateTruncating(1 - Momentum));
        parameter.Gradient!.Span.CopyTo(step.Span);
        Mix(step, T.CreateTruncating(1 - Momentum), momentum, T.CreateTruncating(Momentum));

        // A matrix without gradient, as an ablation's, has no direction.
        if (GradientClipping.Norm(step) > 0)
        {
            Orthogonalise(_arena, step);
            Mix(parameter.Value, T.CreateTruncating(1 - (learningRate * _options.WeightDecay)), step, T.CreateTruncating(-learningRate * Size * Math.Sqrt(Math.Max(step.Rows, step.Columns))));
        }

        _arena.Release(mark);
        return true;
    }

    /// <summary>x = x * ofX + y * ofY.</summary>
    private static void Mix(Tensor<T> x, T ofX, Tensor<T> y, T ofY)
    {
        Work.Blocks(checked((int)x.Length), Block, x.Length * 2, (first, count) =>
        {
            Simd.Scale(x.Data + first, ofX, count);
            Simd.AddScaled(y.Data + first, ofY, x.Data + first, count);
        });
    }
}

using System.Numerics;
using LowLevelSpec.Training.Compute;

namespace LowLevelSpec.Training.Optimisation;

/// <summary>Global-norm clipping as PyTorch's clip_grad_norm_ does it.</summary>
internal static unsafe class GradientClipping
{
    /// <summary>Sums of squares run over blocks of this many elements, so that their order does not depend on threads.</summary>
    private const int Block = 1 << 14;

    /// <summary>Euclidean norm of one gradient.</summary>
    public static double Norm<T>(Tensor<T> gradient) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int length = checked((int)gradient.Length);
        double[] sums = new double[(length + Block - 1) / Block];
        Work.Blocks(length, Block, length, (first, count) => sums[first / Block] = double.CreateTruncating(Simd.Dot(gradient.Data + first, gradient.Data + first, count)));
        return Math.Sqrt(sums.Sum());
    }

    /// <summary>Norm over all gradients together.</summary>
    public static double Norm<T>(IEnumerable<Parameter<T>> parameters) where T : unmanaged, IBinaryFloatingPointIeee754<T> =>
        Math.Sqrt(parameters.Sum(static p => Math.Pow(Norm(p.Gradient!), 2)));

    /// <summary>Scales all gradients by limit / (norm + 1e-6) where that is below one.</summary>
    /// <returns>The norm before.</returns>
    public static double Clip<T>(IReadOnlyList<Parameter<T>> parameters, double limit) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        double norm = Norm(parameters), factor = limit / (norm + 1e-6);
        if (factor < 1)
        {
            foreach (Parameter<T> parameter in parameters)
            {
                Simd.Scale(parameter.Gradient!.Data, T.CreateTruncating(factor), parameter.Gradient.Length);
            }
        }

        return norm;
    }
}

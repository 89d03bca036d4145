using System.Numerics;
using LowLevelSpec.Training.Compute;

namespace LowLevelSpec.Training.Tests;

/// <summary>Seeded random tensors.</summary>
internal static class TestTensors
{
    /// <summary>Uniform in [-1, 1) times <paramref name="scale"/>.</summary>
    public static Tensor<T> Random<T>(int rows, int columns, int seed, double scale = 1) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        Random random = new(seed);
        Tensor<T> tensor = Tensor<T>.Zeros(rows, columns);
        foreach (ref T value in tensor.Span)
        {
            value = T.CreateChecked(scale * ((2 * random.NextDouble()) - 1));
        }

        return tensor;
    }
}

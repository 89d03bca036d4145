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

    /// <summary>x [m, n] as [n, m].</summary>
    public static Tensor<T> Transposed<T>(Tensor<T> a) where T : unmanaged, System.Numerics.IBinaryFloatingPointIeee754<T>
    {
        Tensor<T> t = Tensor<T>.Zeros(a.Columns, a.Rows);
        for (int i = 0; i < a.Rows; i++)
        {
            for (int j = 0; j < a.Columns; j++)
            {
                t.Row(j)[i] = a.Row(i)[j];
            }
        }

        return t;
    }
}

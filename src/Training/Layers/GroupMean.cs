using System.Numerics;
using LowLevelSpec.Training.Compute;

namespace LowLevelSpec.Training.Layers;

/// <summary>Mean over groups of consecutive rows: the L layers of a token.</summary>
internal static unsafe class GroupMean
{
    /// <summary>mean [n, C] of x [n*size, C].</summary>
    public static void Forward<T>(Tensor<T> x, int size, Tensor<T> mean) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        mean.Expect(x.Rows / size, x.Columns, "mean");
        T share = T.One / T.CreateTruncating(size);
        Work.Blocks(mean.Rows, 16, x.Length, (first, count) =>
        {
            for (int i = first; i < first + count; i++)
            {
                T* to = mean.Data + ((long)i * x.Columns), from = x.Data + ((long)i * size * x.Columns);
                new Span<T>(to, x.Columns).Clear();
                for (int j = 0; j < size; j++)
                {
                    Simd.AddScaled(from + ((long)j * x.Columns), T.One, to, x.Columns);
                }

                Simd.Scale(to, share, x.Columns);
            }
        });
    }

    /// <summary>dx [n*size, C] = dMean [n, C] / size, the same for every row of a group.</summary>
    public static void Backward<T>(Tensor<T> dMean, int size, Tensor<T> dx) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        dx.Expect(dMean.Rows * size, dMean.Columns, "dx");
        T share = T.One / T.CreateTruncating(size);
        Work.Blocks(dMean.Rows, 16, dx.Length, (first, count) =>
        {
            for (int i = first; i < first + count; i++)
            {
                Span<T> group = dx.Row(i * size);
                dMean.Row(i).CopyTo(group);
                Simd.Scale(dx.Data + ((long)i * size * dx.Columns), share, dx.Columns);
                for (int j = 1; j < size; j++)
                {
                    group.CopyTo(dx.Row((i * size) + j));
                }
            }
        });
    }
}

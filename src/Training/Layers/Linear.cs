using System.Numerics;
using LowLevelSpec.Training.Compute;

namespace LowLevelSpec.Training.Layers;

/// <summary>y = x W^T + b. x [n, I], W [O, I], b [1, O], y [n, O].</summary>
internal static unsafe class Linear
{
    /// <summary>Writes y; with <paramref name="accumulate"/> adds to it (a residual).</summary>
    public static void Forward<T>(Tensor<T> x, Parameter<T> weight, Parameter<T>? bias, Tensor<T> y, bool accumulate = false) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        Gemm.NT(x, weight.Value, y, accumulate);
        if (bias is null)
        {
            return;
        }

        bias.Value.Expect(1, y.Columns, "bias");
        Work.Blocks(y.Rows, 64, y.Length, (first, count) =>
        {
            for (int i = first; i < first + count; i++)
            {
                Simd.AddScaled(bias.Value.Data, T.One, y.Data + ((long)i * y.Columns), y.Columns);
            }
        });
    }

    /// <summary>
    /// dW += dy^T x, db += sum of dy's rows, dx = dy W (added to it with <paramref name="accumulate"/>; not computed where <paramref name="dx"/> is null).
    /// </summary>
    public static void Backward<T>(Tensor<T> x, Parameter<T> weight, Parameter<T>? bias, Tensor<T> dy, Tensor<T>? dx, bool accumulate = false) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        if (dx is not null)
        {
            Gemm.NN(dy, weight.Value, dx, accumulate);
        }

        if (weight.Gradient is not null)
        {
            Gemm.TN(dy, x, weight.Gradient, accumulate: true);
        }

        if (bias?.Gradient is not null)
        {
            ColumnSums.Add(dy, bias.Gradient);
        }
    }
}

/// <summary>Sums over rows, in an order that does not depend on threads: blocks of rows, then the blocks in order.</summary>
internal static unsafe class ColumnSums
{
    private const int BlockRows = 256;

    /// <summary>sums [1, C] += sum over rows of x [n, C].</summary>
    public static void Add<T>(Tensor<T> x, Tensor<T> sums) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        sums.Expect(1, x.Columns, "sums");
        Reduce(x.Rows, x.Columns, x.Length, sums, (row, partial) => Simd.AddScaled(x.Data + ((long)row * x.Columns), T.One, (T*)partial, x.Columns));
    }

    /// <summary>sums += for every row what <paramref name="addRow"/>(row, address of a [1, columns] partial sum) adds.</summary>
    public static void Reduce<T>(int rows, int columns, long operations, Tensor<T> sums, Action<int, nint> addRow) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int blocks = (rows + BlockRows - 1) / BlockRows;
        if (blocks == 0)
        {
            return;
        }

        Tensor<T> partials = Tensor<T>.Zeros(blocks, columns);
        Work.For(blocks, operations, block =>
        {
            nint partial = (nint)(partials.Data + ((long)block * columns));
            for (int row = block * BlockRows; row < Math.Min(rows, (block + 1) * BlockRows); row++)
            {
                addRow(row, partial);
            }
        });
        for (int block = 0; block < blocks; block++)
        {
            Simd.AddScaled(partials.Data + ((long)block * columns), T.One, sums.Data, columns);
        }

        GC.KeepAlive(partials);
    }
}

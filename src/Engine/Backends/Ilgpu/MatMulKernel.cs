using ILGPU;

namespace LowLevelSpec.Engine.Backends.Ilgpu;

/// <summary>
/// output[r, o] = sum_i weight[o, i] * input[r, i] (+ bias[o]) (+ output[r, o]). A group of threads shares one output feature and
/// <see cref="RowsPerGroup"/> rows, so a weight is read once for all of them; a thread takes every DimX-th element and the partial sums meet in a tree.
/// The number of rows decides neither: a row's bits do not depend on its company.
/// </summary>
internal static class MatMulKernel
{
    /// <summary>Rows that share one reading of the weights.</summary>
    public const int RowsPerGroup = 4;

    /// <summary>Products that a thread sums before they join its total: it keeps the chain of roundings short.</summary>
    private const int Block = 16;

    /// <summary>One group: output feature and block of rows by its index.</summary>
    public static void Run(WeightData weight, DeviceMatrix input, DeviceMatrix output, ArrayView<float> bias, int hasBias, int accumulate)
    {
        ArrayView<float> shared = SharedMemory.Allocate<float>(Reduction.MostThreads);
        int rowBlocks = (input.Rows + RowsPerGroup - 1) / RowsPerGroup;
        int feature = Grid.IdxX / rowBlocks, first = Grid.IdxX % rowBlocks * RowsPerGroup, last = input.Rows - 1;

        // Rows beyond the last repeat it; their sums are dropped.
        long row0 = input.At(first, 0), row1 = input.At(IntrinsicMath.Min(first + 1, last), 0);
        long row2 = input.At(IntrinsicMath.Min(first + 2, last), 0), row3 = input.At(IntrinsicMath.Min(first + 3, last), 0);
        float sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
        for (int block = Group.IdxX; block < input.Columns; block += Group.DimX * Block)
        {
            float part0 = 0, part1 = 0, part2 = 0, part3 = 0;
            for (int step = 0; step < Block; step++)
            {
                int i = block + (step * Group.DimX);
                if (i < input.Columns)
                {
                    float w = weight.Value(feature, i);
                    part0 += w * input.Data[row0 + i];
                    part1 += w * input.Data[row1 + i];
                    part2 += w * input.Data[row2 + i];
                    part3 += w * input.Data[row3 + i];
                }
            }

            sum0 += part0;
            sum1 += part1;
            sum2 += part2;
            sum3 += part3;
        }

        Store(Reduction.Sum(sum0, shared), first, feature, output, bias, hasBias, accumulate);
        Store(Reduction.Sum(sum1, shared), first + 1, feature, output, bias, hasBias, accumulate);
        Store(Reduction.Sum(sum2, shared), first + 2, feature, output, bias, hasBias, accumulate);
        Store(Reduction.Sum(sum3, shared), first + 3, feature, output, bias, hasBias, accumulate);
    }

    private static void Store(float sum, int row, int feature, DeviceMatrix output, ArrayView<float> bias, int hasBias, int accumulate)
    {
        if (Group.IdxX == 0 && row < output.Rows)
        {
            float value = hasBias != 0 ? sum + bias[feature] : sum;
            long at = output.At(row, feature);
            output.Data[at] = accumulate != 0 ? output.Data[at] + value : value;
        }
    }
}

/// <summary>Sums and maxima over the threads of a group: a tree over shared memory, so the order depends on the group's size alone, a power of two.</summary>
internal static class Reduction
{
    /// <summary>Threads of a group at most.</summary>
    public const int MostThreads = 128;

    /// <summary>The sum of all threads' values, known to all of them.</summary>
    public static float Sum(float value, ArrayView<float> shared)
    {
        shared[Group.IdxX] = value;
        Group.Barrier();
        for (int half = Group.DimX / 2; half > 0; half /= 2)
        {
            if (Group.IdxX < half)
            {
                shared[Group.IdxX] += shared[Group.IdxX + half];
            }

            Group.Barrier();
        }

        float sum = shared[0];

        // The next reduction writes where this one is read.
        Group.Barrier();
        return sum;
    }

    /// <summary>The largest of all threads' values, NaN left aside.</summary>
    public static float Max(float value, ArrayView<float> shared)
    {
        shared[Group.IdxX] = value;
        Group.Barrier();
        for (int half = Group.DimX / 2; half > 0; half /= 2)
        {
            if (Group.IdxX < half && shared[Group.IdxX + half] > shared[Group.IdxX])
            {
                shared[Group.IdxX] = shared[Group.IdxX + half];
            }

            Group.Barrier();
        }

        float max = shared[0];
        Group.Barrier();
        return max;
    }
}

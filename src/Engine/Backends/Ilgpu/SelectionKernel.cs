using ILGPU;
using ILGPU.Algorithms;

namespace LowLevelSpec.Engine.Backends.Ilgpu;

/// <summary>
/// log_softmax and the largest entries of each row, one group per row. Entries come in descending order, ties to the lower index: the next one is the
/// largest of those after the last one found, so <c>count</c> readings of the row give a total order without sorting.
/// </summary>
internal static class SelectionKernel
{
    /// <summary>All finite.</summary>
    public const int Well = 0;

    /// <summary>A NaN or a positive infinity is among them, or nothing but negative infinities.</summary>
    public const int Bad = 1;

    /// <summary>Negative infinities are among them.</summary>
    public const int NegativeInfinity = 2;

    private const int Block = 64;

    /// <summary>tokens, values [rows, count]: the largest entries and, where <paramref name="normalise"/>, their log-probabilities; status [rows]: bits of the constants above.</summary>
    public static void Run(DeviceMatrix logits, int count, int normalise, ArrayView<int> tokens, ArrayView<float> values, ArrayView<int> status)
    {
        ArrayView<float> shared = SharedMemory.Allocate<float>(Reduction.MostThreads);
        ArrayView<int> indices = SharedMemory.Allocate<int>(Reduction.MostThreads);
        int row = Grid.IdxX;
        long start = logits.At(row, 0);
        float bad = 0, negative = 0;
        for (int i = Group.IdxX; i < logits.Columns; i += Group.DimX)
        {
            float x = logits.Data[start + i];
            bad = XMath.IsNaN(x) || x == float.PositiveInfinity ? 1f : bad;
            negative = x == float.NegativeInfinity ? 1f : negative;
        }

        bad = Reduction.Max(bad, shared);
        negative = Reduction.Max(negative, shared);
        if (Group.IdxX == 0)
        {
            status[row] = (bad > 0 ? Bad : Well) | (negative > 0 ? NegativeInfinity : Well);
        }

        float previous = float.PositiveInfinity, max = 0, logSum = 0;
        int previousIndex = -1;
        for (int n = 0; n < count; n++)
        {
            float best = float.NegativeInfinity;
            int bestIndex = logits.Columns;
            for (int i = Group.IdxX; i < logits.Columns; i += Group.DimX)
            {
                float x = logits.Data[start + i];
                bool follows = x < previous || (x == previous && i > previousIndex);
                if (follows && (x > best || (x == best && i < bestIndex)))
                {
                    best = x;
                    bestIndex = i;
                }
            }

            Best(ref best, ref bestIndex, shared, indices);
            if (n == 0 && normalise != 0)
            {
                max = best;
                logSum = XMath.Log(Reduction.Sum(SumOfExponentials(logits, start, best), shared));
            }

            if (Group.IdxX == 0)
            {
                // In this order large logits keep their small differences.
                tokens[(row * count) + n] = bestIndex;
                values[(row * count) + n] = best - max - logSum;
                if (n == 0 && best == float.NegativeInfinity)
                {
                    status[row] |= Bad;
                }
            }

            previous = best;
            previousIndex = bestIndex;
        }
    }

    private static float SumOfExponentials(DeviceMatrix logits, long start, float max)
    {
        float sum = 0;
        for (int block = Group.IdxX; block < logits.Columns; block += Group.DimX * Block)
        {
            float part = 0;
            for (int step = 0; step < Block; step++)
            {
                int i = block + (step * Group.DimX);
                if (i < logits.Columns)
                {
                    part += XMath.Exp(logits.Data[start + i] - max);
                }
            }

            sum += part;
        }

        return sum;
    }

    /// <summary>The best entry of all threads, the lower index where equal; known to all of them.</summary>
    private static void Best(ref float value, ref int index, ArrayView<float> values, ArrayView<int> indices)
    {
        values[Group.IdxX] = value;
        indices[Group.IdxX] = index;
        Group.Barrier();
        for (int half = Group.DimX / 2; half > 0; half /= 2)
        {
            if (Group.IdxX < half)
            {
                int other = Group.IdxX + half;
                if (values[other] > values[Group.IdxX] || (values[other] == values[Group.IdxX] && indices[other] < indices[Group.IdxX]))
                {
                    values[Group.IdxX] = values[other];
                    indices[Group.IdxX] = indices[other];
                }
            }

            Group.Barrier();
        }

        value = values[0];
        index = indices[0];
        Group.Barrier();
    }
}

using ILGPU;
using ILGPU.Algorithms;

namespace LowLevelSpec.Engine.Backends.Ilgpu;

/// <summary>
/// output = softmax(q . k * scale) v for one row and head per group, over what the row sees: a run of keys, then single ones (its ancestors).
/// Keys come in tiles of fixed length with a running maximum (as in flash attention): no scores are kept, and key i of a row falls into the same tile wherever it lies, so a
/// tree gives the bits of a line.
/// </summary>
internal static class AttentionKernel
{
    /// <summary>D at most: the accumulators of a head lie in shared memory.</summary>
    public const int MostHeadSize = 256;

    private const int Tile = 64;

    /// <summary>
    /// Rows [first, ..) of queries; grid = rows * heads. plan: per row of the call four numbers: first key's row, length of the run, start and length of its list in <paramref name="lists"/>.
    /// </summary>
    public static void Run(DeviceMatrix queries, DeviceMatrix output, DeviceKeys kv, ArrayView<int> plan, ArrayView<int> lists, int first, int heads)
    {
        ArrayView<float> reduction = SharedMemory.Allocate<float>(Reduction.MostThreads);
        ArrayView<float> scores = SharedMemory.Allocate<float>(Tile);
        ArrayView<float> accumulator = SharedMemory.Allocate<float>(MostHeadSize);
        int row = first + (Grid.IdxX / heads), head = Grid.IdxX % heads;
        int begin = plan[row * 4], prefix = plan[(row * 4) + 1], listStart = plan[(row * 4) + 2], keys = prefix + plan[(row * 4) + 3];
        long headOffset = head / kv.Group * kv.HeadStride, query = queries.At(row, head * kv.HeadSize);
        for (int d = Group.IdxX; d < kv.HeadSize; d += Group.DimX)
        {
            accumulator[d] = 0;
        }

        float max = float.NegativeInfinity, total = 0;
        for (int tile = 0; tile < keys; tile += Tile)
        {
            int count = IntrinsicMath.Min(Tile, keys - tile);
            float largest = float.NegativeInfinity;
            for (int j = Group.IdxX; j < count; j += Group.DimX)
            {
                long key = kv.Offset + headOffset + (Row(tile + j, begin, prefix, listStart, lists) * kv.RowStride);
                float score = 0;
                for (int d = 0; d < kv.HeadSize; d++)
                {
                    score += queries.Data[query + d] * kv.Keys[key + d];
                }

                score *= kv.Scale;
                scores[j] = score;
                largest = score > largest ? score : largest;
            }

            largest = Reduction.Max(largest, reduction);
            float next = largest > max ? largest : max, shrink = XMath.Exp(max - next), part = 0;
            for (int j = Group.IdxX; j < count; j += Group.DimX)
            {
                scores[j] = XMath.Exp(scores[j] - next);
                part += scores[j];
            }

            // The barriers inside also stand between the writing of scores above and their reading below.
            part = Reduction.Sum(part, reduction);
            total = tile == 0 ? part : (total * shrink) + part;
            for (int d = Group.IdxX; d < kv.HeadSize; d += Group.DimX)
            {
                float sum = 0;
                for (int j = 0; j < count; j++)
                {
                    long value = kv.ValueOffset + headOffset + (Row(tile + j, begin, prefix, listStart, lists) * kv.ValueRowStride);
                    sum += scores[j] * kv.Values[value + d];
                }

                accumulator[d] = tile == 0 ? sum : (accumulator[d] * shrink) + sum;
            }

            // The next tile overwrites scores.
            Group.Barrier();
            max = next;
        }

        for (int d = Group.IdxX; d < kv.HeadSize; d += Group.DimX)
        {
            output.Data[output.At(row, (head * kv.HeadSize) + d)] = keys == 0 ? 0f : accumulator[d] / total;
        }
    }

    /// <summary>Cache row of the i-th key that a row sees.</summary>
    private static long Row(int i, int begin, int prefix, int listStart, ArrayView<int> lists) => i < prefix ? begin + i : lists[listStart + i - prefix];
}

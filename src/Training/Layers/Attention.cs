using System.Numerics;
using LowLevelSpec.Training.Compute;

namespace LowLevelSpec.Training.Layers;

/// <summary>
/// Grouped-query attention, softmax(q k^T / sqrt(D)) v, over the runs of keys of an <see cref="AttentionPlan"/>. Head h reads kv head h / (H/K).
/// Probabilities are not kept: the forward pass leaves log sum exp per row and head, from which the backward pass makes them again.
/// One item of work is one segment and kv head, so no two write the same gradient.
/// </summary>
internal static unsafe class Attention
{
    /// <summary>Writes output [n, H*D] and lse [n, H] (scaled log sum exp; -infinity and zeros for a row that sees nothing). q [n, H*D], k, v [n, K*D].</summary>
    public static void Forward<T>(Tensor<T> q, Tensor<T> k, Tensor<T> v, AttentionPlan plan, int headSize, Tensor<T> output, Tensor<T> lse) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        Heads shape = Heads.Of(q, k, v, plan, headSize);
        output.Expect(q.Rows, q.Columns, "output");
        lse.Expect(q.Rows, shape.Query, "lse");
        T scale = T.One / T.Sqrt(T.CreateTruncating(headSize));
        Work.For(plan.Segments.Count * shape.Kv, Operations(plan, shape), item =>
        {
            (int first, int count) = plan.Segments[item / shape.Kv];
            int kv = item % shape.Kv;
            if (FullBlock<T>.Takes(plan, item / shape.Kv))
            {
                FullBlock<T>.Rent(count, headSize, shape.Group, backward: false).Forward(q, k, v, first, kv, kv * shape.Group, shape.Group, scale, output, lse);
                return;
            }

            HeadBlock<T> block = HeadBlock<T>.Rent(count, headSize, backward: false);
            block.Load(k, v, first, kv);
            for (int g = 0; g < shape.Group; g++)
            {
                int head = (kv * shape.Group) + g;
                for (int i = 0; i < count; i++)
                {
                    long row = first + i;
                    lse.Data[(row * shape.Query) + head] = block.Attend(
                        q.Data + (row * q.Columns) + (head * headSize), plan.Low[first + i], plan.High[first + i], scale, output.Data + (row * q.Columns) + (head * headSize));
                }
            }
        });
    }

    /// <summary>Writes dq [n, H*D], dk, dv [n, K*D] from dOutput and the forward pass's q, k, v, lse. dq may be dOutput.</summary>
    public static void Backward<T>(Tensor<T> q, Tensor<T> k, Tensor<T> v, Tensor<T> lse, AttentionPlan plan, int headSize, Tensor<T> dOutput, Tensor<T> dq, Tensor<T> dk, Tensor<T> dv)
        where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        Heads shape = Heads.Of(q, k, v, plan, headSize);
        dOutput.Expect(q.Rows, q.Columns, "dOutput");
        dq.Expect(q.Rows, q.Columns, "dq");
        dk.Expect(k.Rows, k.Columns, "dk");
        dv.Expect(k.Rows, k.Columns, "dv");
        T scale = T.One / T.Sqrt(T.CreateTruncating(headSize));
        Work.For(plan.Segments.Count * shape.Kv, 3 * Operations(plan, shape), item =>
        {
            (int first, int count) = plan.Segments[item / shape.Kv];
            int kv = item % shape.Kv;
            if (FullBlock<T>.Takes(plan, item / shape.Kv))
            {
                FullBlock<T>.Rent(count, headSize, shape.Group, backward: true).Backward(q, k, v, lse, first, kv, kv * shape.Group, shape.Group, scale, dOutput, dq, dk, dv);
                return;
            }

            HeadBlock<T> block = HeadBlock<T>.Rent(count, headSize, backward: true);
            block.Load(k, v, first, kv);
            for (int g = 0; g < shape.Group; g++)
            {
                int head = (kv * shape.Group) + g;
                for (int i = 0; i < count; i++)
                {
                    long row = first + i, at = (row * q.Columns) + (head * headSize);
                    block.Gradient(q.Data + at, plan.Low[first + i], plan.High[first + i], scale, lse.Data[(row * shape.Query) + head], dOutput.Data + at, dq.Data + at);
                }
            }

            block.StoreGradients(dk, dv, first, kv);
        });
    }

    private static long Operations(AttentionPlan plan, Heads shape)
    {
        long pairs = 0;
        for (int i = 0; i < plan.Rows; i++)
        {
            pairs += Math.Max(0, plan.High[i] - plan.Low[i]);
        }

        return pairs * shape.Query * shape.Size * 2;
    }

    private readonly record struct Heads(int Query, int Kv, int Group, int Size)
    {
        public static Heads Of<T>(Tensor<T> q, Tensor<T> k, Tensor<T> v, AttentionPlan plan, int headSize) where T : unmanaged, IBinaryFloatingPointIeee754<T>
        {
            int heads = q.Columns / headSize, kv = k.Columns / headSize;
            q.Expect(plan.Rows, heads * headSize, "q");
            k.Expect(plan.Rows, kv * headSize, "k");
            v.Expect(plan.Rows, kv * headSize, "v");
            return kv > 0 && heads % kv == 0 ? new Heads(heads, kv, heads / kv, headSize) : throw new ArgumentException($"{heads} heads over {kv} kv heads", nameof(k));
        }
    }
}

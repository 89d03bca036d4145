using System.Numerics;
using System.Runtime.Intrinsics;
using LowLevelSpec.Training.Compute;
using LowLevelSpec.Training.Data;
using LowLevelSpec.Training.Drafters;
using LowLevelSpec.Training.Targets;

namespace LowLevelSpec.Training.Losses;

/// <summary>The authors' training loss and its gradients (reference trainer `loss_terms`; golden README, point 17).</summary>
internal static unsafe class DrafterLoss
{
    /// <summary>Added to the number of response positions, so that a batch without any divides by something.</summary>
    private const double Denominator = 1e-5;

    /// <summary>Rows whose logits are in memory at once, two vocabularies each.</summary>
    private const int ChunkRows = 256;

    /// <summary>Loss of a prediction, and where asked its gradients.</summary>
    /// <param name="arena">Where gradients go; the rest is given back.</param>
    /// <param name="target">For its LM head.</param>
    /// <param name="batch">The texts.</param>
    /// <param name="states">The target's states.</param>
    /// <param name="prediction">The drafter's.</param>
    /// <param name="weights">Of the terms.</param>
    /// <param name="scale">Factor of the gradients: 1 / micro-batches of a step.</param>
    /// <param name="gradients">Whether to compute gradients; those of a trainable head are added to it.</param>
    /// <param name="klRows">Which of the batch's rows the cross entropy is taken over, of those of the response; null for all. Its mean then stands for all positions'.</param>
    /// <returns>Terms; dHidden and dMiddle [m, E] or null.</returns>
    public static (LossTerms Terms, Tensor<T>? Hidden, Tensor<T>? Middle) Compute<T>(
        Arena<T> arena, FrozenTarget<T> target, TrainingBatch batch, TargetStates<T> states, Prediction<T> prediction, LossWeights weights, double scale = 1, bool gradients = true, bool[]? klRows = null)
        where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int m = prediction.Hidden.Rows, e = prediction.Hidden.Columns;
        int[] counted = [.. Enumerable.Range(0, m).Where(i => batch.Response[prediction.Rows[i]])];
        double share = 1 / (counted.Length + Denominator);
        Tensor<T>? dHidden = gradients ? arena.Zeros(m, e) : null;
        Tensor<T>? dMiddle = gradients && prediction.Middle is not null ? arena.Zeros(m, e) : null;
        ArenaMark mark = arena.Mark();
        double feature = weights.Feature == 0 ? 0 : share * SmoothL1(prediction.Hidden, states.Final, prediction.Rows, counted, dHidden, weights.Feature * share * scale);
        double previous = prediction.Middle is null ? 0 : share * SmoothL1(prediction.Middle, states.Middle!, prediction.Rows, counted, dMiddle, weights.PreviousFeature * share * scale);

        int horizons = prediction.Horizon.Length == 0 ? 1 : prediction.Horizon.Max() + 1;
        Totals totals = new(new int[horizons], new int[horizons]);
        int[] scored = klRows is null ? counted : [.. counted.Where(i => klRows[prediction.Rows[i]])];
        double klShare = 1 / (scored.Length + Denominator);
        for (int first = 0; first < scored.Length; first += ChunkRows)
        {
            CrossEntropy(arena, target, states, prediction, scored.AsSpan(first, Math.Min(ChunkRows, scored.Length - first)), weights.ForwardKl * klShare * scale, dHidden, totals);
            arena.Release(mark);
        }

        double kl = totals.CrossEntropy * klShare;
        double total = (weights.ForwardKl * kl) + (weights.Feature * feature) + (weights.PreviousFeature * previous);
        return (new LossTerms(total, kl, feature, previous, totals.Entropy / Math.Max(1, scored.Length), scored.Length, totals.Hits, totals.Counts), dHidden, dMiddle);
    }

    /// <summary>Sum over counted rows of the mean over E of SmoothL1 (beta 1); adds <paramref name="factor"/> times its gradient.</summary>
    private static double SmoothL1<T>(Tensor<T> predicted, Tensor<T> wanted, int[] rows, int[] counted, Tensor<T>? gradient, double factor) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int e = predicted.Columns;
        wanted.Expect(wanted.Rows, e, "the target's states");
        double[] sums = new double[counted.Length];
        T step = T.CreateTruncating(factor / e), half = T.CreateTruncating(0.5);
        Work.Blocks(counted.Length, 16, (long)counted.Length * e * 4, (first, count) =>
        {
            for (int c = first; c < first + count; c++)
            {
                int i = counted[c];
                T* p = predicted.Data + ((long)i * e), w = wanted.Data + ((long)rows[i] * e), g = gradient is null ? null : gradient.Data + ((long)i * e);
                double sum = 0;
                for (int d = 0; d < e; d++)
                {
                    T difference = p[d] - w[d], size = T.Abs(difference);
                    sum += double.CreateTruncating(size < T.One ? half * difference * difference : size - half);
                    if (g is not null)
                    {
                        g[d] += T.Clamp(difference, -T.One, T.One) * step;
                    }
                }

                sums[c] = sum / e;
            }
        });
        return sums.Sum();
    }

    /// <summary>Cross entropy of some rows: logits of both, row by row -sum q log p, gradient (p - q) through the head.</summary>
    private static void CrossEntropy<T>(
        Arena<T> arena, FrozenTarget<T> target, TargetStates<T> states, Prediction<T> prediction, ReadOnlySpan<int> counted, double factor, Tensor<T>? dHidden, Totals totals)
        where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int r = counted.Length, e = prediction.Hidden.Columns, v = target.Head.Value.Rows;
        Tensor<T> wanted = arena.Allocate(r, states.Final.Columns), predicted = arena.Allocate(r, e), q = arena.Allocate(r, v), p = arena.Allocate(r, v);
        for (int c = 0; c < r; c++)
        {
            states.Final.Row(prediction.Rows[counted[c]]).CopyTo(wanted.Row(c));
            prediction.Hidden.Row(counted[c]).CopyTo(predicted.Row(c));
        }

        Gemm.NT(wanted, target.Head.Value, q);
        Gemm.NT(predicted, prediction.Head.Value, p);
        RowResult[] results = new RowResult[r];
        T step = T.CreateTruncating(factor);
        Work.For(r, (long)r * v * 16, c => results[c] = Distributions(q.Data + ((long)c * v), p.Data + ((long)c * v), v, step));
        for (int c = 0; c < r; c++)
        {
            int horizon = prediction.Horizon[counted[c]];
            totals.CrossEntropy += results[c].CrossEntropy;
            totals.Entropy += results[c].Entropy;
            totals.Hits[horizon] += results[c].Hit ? 1 : 0;
            totals.Counts[horizon]++;
        }

        if (dHidden is null)
        {
            return;
        }

        Gemm.NN(p, prediction.Head.Value, wanted = arena.Allocate(r, e));
        for (int c = 0; c < r; c++)
        {
            Simd.AddScaled(wanted.Data + ((long)c * e), T.One, dHidden.Data + ((long)counted[c] * e), e);
        }

        if (prediction.Head.Gradient is not null)
        {
            Gemm.TN(p, predicted, prediction.Head.Gradient, accumulate: true);
        }
    }

    /// <summary>From logits of the target (q) and the drafter (p) of one row [V]: the loss; leaves (softmax(p) - softmax(q)) * step in p.</summary>
    private static RowResult Distributions<T>(T* q, T* p, int v, T step) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int lanes = Vector256<T>.Count;
        T maxQ = Simd.Max(q, v), maxP = Simd.Max(p, v);
        bool hit = new ReadOnlySpan<T>(q, v).IndexOf(maxQ) == new ReadOnlySpan<T>(p, v).IndexOf(maxP);
        T logQ = maxQ + T.Log(SumOfExponentials(q, maxQ, v)), logP = maxP + T.Log(SumOfExponentials(p, maxP, v));
        double cross = 0, entropy = 0;
        int i = 0;
        Vector256<T> logQs = Vector256.Create(logQ), logPs = Vector256.Create(logP), steps = Vector256.Create(step);
        for (; i <= v - lanes; i += lanes)
        {
            Vector256<T> a = Vector256.Load(q + i) - logQs, b = Vector256.Load(p + i) - logPs, probability = Simd.Exp(a);
            cross -= double.CreateTruncating(Vector256.Sum(probability * b));
            entropy -= double.CreateTruncating(Vector256.Sum(probability * a));
            ((Simd.Exp(b) - probability) * steps).Store(p + i);
        }

        for (; i < v; i++)
        {
            T a = q[i] - logQ, b = p[i] - logP, probability = T.Exp(a);
            cross -= double.CreateTruncating(probability * b);
            entropy -= double.CreateTruncating(probability * a);
            p[i] = (T.Exp(b) - probability) * step;
        }

        return new RowResult(cross, entropy, hit);
    }

    private static T SumOfExponentials<T>(T* x, T shift, int count) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int lanes = Vector256<T>.Count, i = 0;
        Vector256<T> sums = Vector256<T>.Zero, shifts = Vector256.Create(shift);
        for (; i <= count - lanes; i += lanes)
        {
            sums += Simd.Exp(Vector256.Load(x + i) - shifts);
        }

        T sum = Vector256.Sum(sums);
        for (; i < count; i++)
        {
            sum += T.Exp(x[i] - shift);
        }

        return sum;
    }

    private readonly record struct RowResult(double CrossEntropy, double Entropy, bool Hit);

    private sealed class Totals(int[] hits, int[] counts)
    {
        public double CrossEntropy { get; set; }

        public double Entropy { get; set; }

        public int[] Hits { get; } = hits;

        public int[] Counts { get; } = counts;
    }
}

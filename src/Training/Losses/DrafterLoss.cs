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

    /// <summary>Elements whose sums run in the working precision before they are added up in double.</summary>
    private const int BlockElements = 1024;

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
    /// <param name="sample">Tokens that stand for the vocabulary in the cross entropy; null for all.</param>
    /// <returns>Terms; dHidden and dMiddle [m, E] or null.</returns>
    public static (LossTerms Terms, Tensor<T>? Hidden, Tensor<T>? Middle) Compute<T>(
        Arena<T> arena, FrozenTarget<T> target, TrainingBatch batch, TargetStates<T> states, Prediction<T> prediction, LossWeights weights, double scale = 1, bool gradients = true, bool[]? klRows = null, VocabularySample? sample = null)
        where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int m = prediction.Hidden.Rows, e = prediction.Hidden.Columns;
        int[] counted = [.. Enumerable.Range(0, m).Where(i => batch.Response[prediction.Rows[i]])];
        double share = 1 / (counted.Length + Denominator);
        Tensor<T>? dHidden = gradients ? arena.Zeros(m, e) : null;
        Tensor<T>? dMiddle = gradients && prediction.Middle is not null ? arena.Zeros(m, e) : null;
        Tensor<T>? dAttended = gradients && weights.Alignment > 0 && prediction.Attended is { } attended ? arena.Zeros(attended.Rows, e) : null;
        prediction.AttendedGradient = dAttended;
        ArenaMark mark = arena.Mark();
        double feature = weights.Feature == 0 ? 0 : share * SmoothL1(prediction.Hidden, states.Final, prediction.Rows, counted, dHidden, weights.Feature * share * scale);
        double previous = prediction.Middle is null ? 0 : share * SmoothL1(prediction.Middle, states.Middle!, prediction.Rows, counted, dMiddle, weights.PreviousFeature * share * scale);
        double alignment = 0;
        if (weights.Alignment > 0 && prediction.Attended is { } seen)
        {
            int[] all = [.. Enumerable.Range(0, seen.Rows)];
            alignment = SmoothL1(seen, states.Final, all, all, dAttended, weights.Alignment * scale / all.Length) / all.Length;
        }

        int horizons = prediction.Horizon.Length == 0 ? 1 : prediction.Horizon.Max() + 1;
        Totals totals = new(new int[horizons], new int[horizons]);
        int[] scored = klRows is null ? counted : [.. counted.Where(i => klRows[prediction.Rows[i]])];
        double klShare = 1 / (scored.Length + Denominator);
        Heads<T> heads = Heads<T>.Of(arena, target.Head, prediction.Head, sample);
        ArenaMark chunk = arena.Mark();
        for (int first = 0; first < scored.Length; first += ChunkRows)
        {
            CrossEntropy(arena, heads, states, prediction, scored.AsSpan(first, Math.Min(ChunkRows, scored.Length - first)), weights.ForwardKl * klShare * scale, weights.Temperature, dHidden, totals);
            arena.Release(chunk);
        }

        arena.Release(mark);

        double kl = totals.CrossEntropy * klShare;
        double total = (weights.ForwardKl * kl) + (weights.Feature * feature) + (weights.PreviousFeature * previous) + (weights.Alignment * alignment);
        return (new LossTerms(total, kl, feature, previous, alignment, totals.Entropy / Math.Max(1, scored.Length), scored.Length, totals.Hits, totals.Counts), dHidden, dMiddle);
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
        Arena<T> arena, Heads<T> heads, TargetStates<T> states, Prediction<T> prediction, ReadOnlySpan<int> counted, double factor, double temperature, Tensor<T>? dHidden, Totals totals)
        where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int r = counted.Length, e = prediction.Hidden.Columns, v = heads.Target.Rows;
        Tensor<T> wanted = arena.Allocate(r, states.Final.Columns), predicted = arena.Allocate(r, e), q = arena.Allocate(r, v), p = arena.Allocate(r, v);
        for (int c = 0; c < r; c++)
        {
            states.Final.Row(prediction.Rows[counted[c]]).CopyTo(wanted.Row(c));
            prediction.Hidden.Row(counted[c]).CopyTo(predicted.Row(c));
        }

        Gemm.NT(wanted, heads.Target, q);
        Gemm.NT(predicted, heads.Drafter, p);
        RowResult[] results = new RowResult[r];
        T step = T.CreateTruncating(factor / temperature), sharper = T.CreateTruncating(1 / temperature);
        Work.For(r, (long)r * v * 16, c =>
        {
            if (temperature != 1)
            {
                Simd.Scale(q.Data + ((long)c * v), sharper, v);
                Simd.Scale(p.Data + ((long)c * v), sharper, v);
            }

            results[c] = Distributions(q.Data + ((long)c * v), p.Data + ((long)c * v), v, step, heads.Exact, heads.LogWeight);
        });
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

        Gemm.NN(p, heads.Drafter, wanted = arena.Allocate(r, e));
        for (int c = 0; c < r; c++)
        {
            Simd.AddScaled(wanted.Data + ((long)c * e), T.One, dHidden.Data + ((long)counted[c] * e), e);
        }

        if (prediction.Head.Gradient is not null)
        {
            heads.AddGradient(arena, p, predicted, prediction.Head.Gradient);
        }
    }

    /// <summary>From logits of the target (q) and the drafter (p) of one row [V]: the loss; leaves (softmax(p) - softmax(q)) * step in p. Logits from <paramref name="exact"/> on stand for e^logWeight tokens each.</summary>
    private static RowResult Distributions<T>(T* q, T* p, int v, T step, int exact, double logWeight) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        T maxQ = Simd.Max(q, v), maxP = Simd.Max(p, v);
        bool hit = new ReadOnlySpan<T>(q, v).IndexOf(maxQ) == new ReadOnlySpan<T>(p, v).IndexOf(maxP);
        double sumQ = 0, sumP = 0, cross = 0, self = 0;
        for (int i = 0; i < exact; i += BlockElements)
        {
            Exponentials(q + i, p + i, Math.Min(BlockElements, exact - i), maxQ, maxP, 1, ref sumQ, ref sumP, ref cross, ref self);
        }

        double weight = Math.Exp(logWeight);
        for (int i = exact; i < v; i += BlockElements)
        {
            Exponentials(q + i, p + i, Math.Min(BlockElements, v - i), maxQ, maxP, weight, ref sumQ, ref sumP, ref cross, ref self);
        }

        double stepOf = double.CreateTruncating(step);
        Difference(q, p, exact, T.CreateTruncating(stepOf / sumQ), T.CreateTruncating(stepOf / sumP));
        Difference(q + exact, p + exact, v - exact, T.CreateTruncating(stepOf * weight / sumQ), T.CreateTruncating(stepOf * weight / sumP));
        return new RowResult(Math.Log(sumP) - (cross / sumQ), Math.Log(sumQ) - (self / sumQ), hit);
    }

    /// <summary>q = e^(q - maxQ), p = e^(p - maxP); adds weight times the sums of both, of e^(q - maxQ) (p - maxP) and of e^(q - maxQ) (q - maxQ).</summary>
    private static void Exponentials<T>(T* q, T* p, int count, T maxQ, T maxP, double weight, ref double sumQ, ref double sumP, ref double cross, ref double self)
        where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int lanes = Vector256<T>.Count, i = 0;
        Vector256<T> maxQs = Vector256.Create(maxQ), maxPs = Vector256.Create(maxP), sq = default, sp = default, sc = default, ss = default;
        for (; i <= count - lanes; i += lanes)
        {
            Vector256<T> a = Vector256.Load(q + i) - maxQs, b = Vector256.Load(p + i) - maxPs, expA = Simd.Exp(a), expB = Simd.Exp(b);
            sq += expA;
            sp += expB;
            sc = Simd.Fma(expA, b, sc);
            ss = Simd.Fma(expA, a, ss);
            expA.Store(q + i);
            expB.Store(p + i);
        }

        T q1 = Vector256.Sum(sq), p1 = Vector256.Sum(sp), c1 = Vector256.Sum(sc), s1 = Vector256.Sum(ss);
        for (; i < count; i++)
        {
            T a = q[i] - maxQ, b = p[i] - maxP;
            q[i] = T.Exp(a);
            p[i] = T.Exp(b);
            q1 += q[i];
            p1 += p[i];
            c1 += q[i] * b;
            s1 += q[i] * a;
        }

        sumQ += weight * double.CreateTruncating(q1);
        sumP += weight * double.CreateTruncating(p1);
        cross += weight * double.CreateTruncating(c1);
        self += weight * double.CreateTruncating(s1);
    }

    /// <summary>p = p * ofP - q * ofQ.</summary>
    private static void Difference<T>(T* q, T* p, int count, T ofQ, T ofP) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int lanes = Vector256<T>.Count, i = 0;
        Vector256<T> scaleQ = Vector256.Create(-ofQ), scaleP = Vector256.Create(ofP);
        for (; i <= count - lanes; i += lanes)
        {
            Simd.Fma(Vector256.Load(q + i), scaleQ, Vector256.Load(p + i) * scaleP).Store(p + i);
        }

        for (; i < count; i++)
        {
            p[i] = (p[i] * ofP) - (q[i] * ofQ);
        }
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

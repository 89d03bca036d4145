using System.Numerics;
using LowLevelSpec.Training.Compute;
using LowLevelSpec.Training.Data;
using LowLevelSpec.Training.Drafters;

namespace LowLevelSpec.Training.LanguageModels;

/// <summary>Cross entropy of a batch.</summary>
/// <param name="Loss">Mean -log p of the next token, in nats.</param>
/// <param name="Positions">Tokens predicted: all but each sequence's first.</param>
/// <param name="Hits">Of these, how many were the most likely one.</param>
internal readonly record struct NextTokenTerms(double Loss, int Positions, int Hits);

/// <summary>The loss of a language model: -log p(token i + 1 | tokens 0..i), mean over all positions that have a next token.</summary>
internal static unsafe class NextTokenLoss
{
    /// <summary>Rows whose logits are in memory at once.</summary>
    private const int ChunkRows = 256;

    /// <summary>The loss of a batch, and where asked the gradients of <paramref name="scale"/> times it, which are added to the model's.</summary>
    /// <param name="arena">For temporary memory, given back.</param>
    /// <param name="model">The model.</param>
    /// <param name="batch">The texts, n rows.</param>
    /// <param name="gradients">Whether to compute gradients.</param>
    /// <param name="scale">Factor of the gradients: 1 / micro-batches of a step.</param>
    public static NextTokenTerms Compute<T>(Arena<T> arena, IndependentModel<T> model, TrainingBatch batch, bool gradients, double scale = 1) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        ArenaMark mark = arena.Mark();
        IndependentPrediction<T> prediction = model.Forward(arena, batch);
        int[] rows = [.. batch.Sequences.SelectMany((s, index) => Enumerable.Range(batch.FirstRow[index], s.Tokens.Count - 1))];
        Tensor<T>? dHidden = gradients ? arena.Zeros(prediction.Hidden.Rows, prediction.Hidden.Columns) : null;
        double loss = 0;
        int hits = 0;
        ArenaMark chunkMark = arena.Mark();
        for (int first = 0; first < rows.Length; first += ChunkRows)
        {
            (double sum, int right) = Chunk(arena, prediction, batch.Tokens, rows.AsSpan(first, Math.Min(ChunkRows, rows.Length - first)), scale / rows.Length, dHidden);
            loss += sum;
            hits += right;
            arena.Release(chunkMark);
        }

        if (dHidden is not null)
        {
            model.Backward(arena, prediction, dHidden, null);
        }

        arena.Release(mark);
        return new NextTokenTerms(loss / Math.Max(1, rows.Length), rows.Length, hits);
    }

    /// <summary>Sum of -log p over some rows, and their hits; adds <paramref name="factor"/> times the gradient of the sum.</summary>
    private static (double Sum, int Hits) Chunk<T>(Arena<T> arena, Prediction<T> prediction, int[] tokens, ReadOnlySpan<int> rows, double factor, Tensor<T>? dHidden) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        int r = rows.Length, e = prediction.Hidden.Columns, v = prediction.Head.Value.Rows;
        Tensor<T> hidden = arena.Allocate(r, e), p = arena.Allocate(r, v);
        int[] next = new int[r];
        for (int c = 0; c < r; c++)
        {
            prediction.Hidden.Row(rows[c]).CopyTo(hidden.Row(c));
            next[c] = tokens[rows[c] + 1];
        }

        Gemm.NT(hidden, prediction.Head.Value, p);
        double[] losses = new double[r];
        bool[] hit = new bool[r];
        T step = T.CreateTruncating(factor);
        Work.For(r, (long)r * v * 8, c => (losses[c], hit[c]) = Row(p.Data + ((long)c * v), v, next[c], step));
        if (dHidden is not null)
        {
            Tensor<T> d = arena.Allocate(r, e);
            Gemm.NN(p, prediction.Head.Value, d);
            for (int c = 0; c < r; c++)
            {
                d.Row(c).CopyTo(dHidden.Row(rows[c]));
            }

            Gemm.TN(p, hidden, prediction.Head.Gradient!, accumulate: true);
        }

        return (losses.Sum(), hit.Count(static h => h));
    }

    /// <summary>From the logits of one row [V]: -log p of the next token and whether it was the most likely; leaves (softmax - [next]) * step in p.</summary>
    private static (double Loss, bool Hit) Row<T>(T* p, int v, int next, T step) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        T max = Simd.Max(p, v), logit = p[next];
        T sum = Simd.ExpSum(p, max, p, v);
        Simd.Scale(p, step / sum, v);
        p[next] -= step;
        return (double.CreateTruncating(max - logit + T.Log(sum)), logit == max);
    }
}

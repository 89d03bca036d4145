using System.Numerics;
using LowLevelSpec.Training.Compute;

namespace LowLevelSpec.Training.Losses;

/// <summary>The LM heads of target and drafter as the cross entropy uses them: whole, or the rows of a <see cref="VocabularySample"/>.</summary>
/// <param name="Target">[V, E] or [sampled, E].</param>
/// <param name="Drafter">[V, its E] or [sampled, its E]; the target's where they share it.</param>
/// <param name="Exact">Leading rows that stand for themselves.</param>
/// <param name="LogWeight">Logarithm of the number of tokens that each of the other rows stands for.</param>
/// <param name="Rows">Token of each row; null for all tokens.</param>
internal sealed record Heads<T>(Tensor<T> Target, Tensor<T> Drafter, int Exact, double LogWeight, int[]? Rows) where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    /// <summary>Gathers the rows of a sample into the arena; takes the heads as they are without one.</summary>
    public static Heads<T> Of(Arena<T> arena, Parameter<T> target, Parameter<T> drafter, VocabularySample? sample)
    {
        if (sample is null)
        {
            return new Heads<T>(target.Value, drafter.Value, target.Value.Rows, 0, null);
        }

        Tensor<T> first = Gather(arena, target.Value, sample.Tokens);
        return new Heads<T>(first, ReferenceEquals(target, drafter) ? first : Gather(arena, drafter.Value, sample.Tokens), sample.Exact, sample.LogWeight, sample.Tokens);
    }

    /// <summary>gradient [V, E] += d^T x at the rows in use. d [r, rows in use], x [r, E].</summary>
    public unsafe void AddGradient(Arena<T> arena, Tensor<T> d, Tensor<T> x, Tensor<T> gradient)
    {
        if (Rows is null)
        {
            Gemm.TN(d, x, gradient, accumulate: true);
            return;
        }

        Tensor<T> rows = arena.Allocate(Rows.Length, x.Columns);
        Gemm.TN(d, x, rows);
        for (int i = 0; i < Rows.Length; i++)
        {
            Simd.AddScaled(rows.Data + ((long)i * x.Columns), T.One, gradient.Data + ((long)Rows[i] * x.Columns), x.Columns);
        }
    }

    private static Tensor<T> Gather(Arena<T> arena, Tensor<T> table, int[] tokens)
    {
        Tensor<T> rows = arena.Allocate(tokens.Length, table.Columns);
        Work.Blocks(tokens.Length, 256, rows.Length, (first, count) =>
        {
            for (int i = first; i < first + count; i++)
            {
                table.Row(tokens[i]).CopyTo(rows.Row(i));
            }
        });
        return rows;
    }
}

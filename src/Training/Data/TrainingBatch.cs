namespace LowLevelSpec.Training.Data;

/// <summary>One text to learn from.</summary>
/// <param name="Tokens">Ids, at least one.</param>
/// <param name="Response">Which of them the target wrote: the positions that the loss counts. As long as <paramref name="Tokens"/>.</param>
public sealed record TrainingSequence(IReadOnlyList<int> Tokens, IReadOnlyList<bool> Response);

/// <summary>Sequences packed one after the other without padding: n rows in all. Reference implementations pad; padded positions count nowhere.</summary>
internal sealed class TrainingBatch
{
    /// <summary>Packs <paramref name="sequences"/>.</summary>
    public TrainingBatch(IReadOnlyList<TrainingSequence> sequences)
    {
        Sequences = sequences;
        FirstRow = new int[sequences.Count];
        for (int s = 0; s < sequences.Count; s++)
        {
            TrainingSequence sequence = sequences[s];
            if (sequence.Tokens.Count == 0 || sequence.Tokens.Count != sequence.Response.Count)
            {
                throw new ArgumentException($"sequence {s} has {sequence.Tokens.Count} tokens and {sequence.Response.Count} response marks", nameof(sequences));
            }

            FirstRow[s] = Rows;
            Rows += sequence.Tokens.Count;
        }

        Tokens = [.. sequences.SelectMany(static s => s.Tokens)];
        Response = [.. sequences.SelectMany(static s => s.Response)];
    }

    /// <summary>The texts.</summary>
    public IReadOnlyList<TrainingSequence> Sequences { get; }

    /// <summary>First row of each sequence.</summary>
    public int[] FirstRow { get; }

    /// <summary>n, tokens of all sequences.</summary>
    public int Rows { get; }

    /// <summary>Ids of all rows [n].</summary>
    public int[] Tokens { get; }

    /// <summary>Response marks of all rows [n].</summary>
    public bool[] Response { get; }

    /// <summary>Tokens of each sequence.</summary>
    public IEnumerable<int> Lengths => Sequences.Select(static s => s.Tokens.Count);
}

namespace LowLevelSpec.Training.Data;

/// <summary>Tokens by how often the target wrote them.</summary>
internal static class TokenRanking
{
    /// <summary>All ids below <paramref name="vocabulary"/>, the most frequent of the responses first; equally frequent ones by id.</summary>
    public static int[] Of(IEnumerable<TrainingSequence> sequences, int vocabulary)
    {
        long[] counts = new long[vocabulary];
        foreach (TrainingSequence sequence in sequences)
        {
            for (int i = 0; i < sequence.Tokens.Count; i++)
            {
                counts[sequence.Tokens[i]] += sequence.Response[i] ? 1 : 0;
            }
        }

        return [.. Enumerable.Range(0, vocabulary).OrderByDescending(id => counts[id]).ThenBy(static id => id)];
    }
}

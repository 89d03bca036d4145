using LowLevelSpec.Engine.Sampling;

namespace LowLevelSpec.Training.Losses;

/// <summary>
/// Tokens that stand for a whole vocabulary in a step's cross entropy: the most frequent ones for themselves, and some of the others, drawn afresh each
/// time, for all others. Each of these counts as often as there are others per drawn one, so the sums of exponentials are estimated without bias.
/// </summary>
/// <param name="Tokens">Ids, the frequent ones first.</param>
/// <param name="Exact">How many stand for themselves.</param>
/// <param name="LogWeight">Logarithm of the number that each of the rest stands for.</param>
internal sealed record VocabularySample(int[] Tokens, int Exact, double LogWeight);

/// <summary>Draws <see cref="VocabularySample"/>s, a function of seed and number.</summary>
internal sealed class VocabularySampler
{
    private const ulong Stream = 0x5EED_0004;

    private readonly int[] _ranked;
    private readonly int _frequent, _drawn;
    private readonly ulong _seed;

    /// <param name="ranked">All ids of the vocabulary, the most frequent first.</param>
    /// <param name="frequent">How many of them are in every sample.</param>
    /// <param name="drawn">How many of the others are.</param>
    /// <param name="seed">Seed.</param>
    public VocabularySampler(int[] ranked, int frequent, int drawn, ulong seed) =>
        (_ranked, _frequent, _drawn, _seed) = (ranked, Math.Min(frequent, ranked.Length), Math.Min(drawn, ranked.Length - Math.Min(frequent, ranked.Length)), seed);

    /// <summary>The sample of micro-batch <paramref name="number"/>.</summary>
    public VocabularySample Draw(long number)
    {
        int[] others = _ranked[_frequent..], tokens = new int[_frequent + _drawn];
        _ranked.AsSpan(0, _frequent).CopyTo(tokens);
        for (int i = 0; i < _drawn; i++)
        {
            int j = i + (int)((others.Length - i) * RandomStream.Uniform(_seed ^ Stream, (number << 24) + i));
            (others[i], others[j]) = (others[j], others[i]);
            tokens[_frequent + i] = others[i];
        }

        return new VocabularySample(tokens, _frequent, _drawn == 0 ? 0 : Math.Log(others.Length / (double)_drawn));
    }
}

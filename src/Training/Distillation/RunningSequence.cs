using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Sampling;

namespace LowLevelSpec.Training.Distillation;

/// <summary>What a sequence begins with.</summary>
/// <param name="Tokens">Ids, at least one.</param>
/// <param name="Sampler">Chooses the tokens of an own user turn; null where the tokens are a whole prompt.</param>
/// <param name="MostSampled">Most tokens of that turn.</param>
internal readonly record struct SequenceStart(int[] Tokens, TokenSampler? Sampler = null, int MostSampled = 0);

/// <summary>A sequence in flight: first, where the target writes its own user turns, such a turn, then an answer.</summary>
/// <param name="index">The prompt's place in its source.</param>
/// <param name="cache">Its keys and values, rented.</param>
internal sealed class RunningSequence(long index, KvCache cache)
{
    /// <summary>The prompt's place in its source.</summary>
    public long Index { get; } = index;

    /// <summary>Keys and values of the first <see cref="KvCache.Length"/> tokens.</summary>
    public KvCache Cache { get; set; } = cache;

    /// <summary>Chooses its tokens; null = greedily.</summary>
    public required TokenSampler? Sampler { get; set; }

    /// <summary>Whether it still writes its user turn.</summary>
    public required bool WritesTurn { get; set; }

    /// <summary>Everything given and written.</summary>
    public required List<int> Tokens { get; set; }

    /// <summary>Index of the first token that was written, not given.</summary>
    public required int Written { get; set; }

    /// <summary>The sequence ends at this many tokens.</summary>
    public required int Limit { get; set; }

    /// <summary>Tokens the target has not seen yet.</summary>
    public int Pending => Tokens.Count - Cache.Length;
}

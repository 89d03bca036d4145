namespace LowLevelSpec.Engine.Sampling;

/// <summary>
/// Chooses the target's next token. The one place where a token is ever chosen: plain decoding and verification both call it, with the
/// same logits in the same order, so they write the same text (docs/lossless.md). Not thread-safe; allocates nothing after construction.
/// </summary>
public sealed class TokenSampler
{
    /// <summary>Creates a sampler for one generation.</summary>
    /// <param name="options">Validated here.</param>
    /// <param name="vocabularySize">V.</param>
    /// <param name="prompt">Prompt ids, for the repetition penalty.</param>
    /// <exception cref="LowLevelSpec.Models.InputException">An option is out of range; the message names it.</exception>
    public TokenSampler(SamplingOptions options, int vocabularySize, ReadOnlySpan<int> prompt) => throw new NotSupportedException("not built yet");

    /// <summary>Whether the choice is the plain argmax of the logits: then a backend's ArgMax may stand in for <see cref="Choose"/>.</summary>
    public bool IsPlainArgMax { get; }

    /// <summary>Tokens committed so far.</summary>
    public int Committed { get; }

    /// <summary>The token for output index <see cref="Committed"/>, given the target's logits [V] after everything committed so far. Changes no state.</summary>
    public TokenId Choose(ReadOnlySpan<float> logits) => throw new NotSupportedException("not built yet");

    /// <summary>Records an output token: advances the random stream and the penalties' counts.</summary>
    public void Commit(TokenId token) => throw new NotSupportedException("not built yet");
}

namespace LowLevelSpec.Engine.Sampling;

/// <summary>
/// How the next token is chosen from the target's logits. Order of application: penalties, temperature, top-k, top-p, min-p.
/// The defaults are greedy decoding without penalties.
/// </summary>
public sealed record SamplingOptions
{
    /// <summary>0 = greedy (argmax, ties to the lower id); otherwise logits are divided by it.</summary>
    public float Temperature { get; init; }

    /// <summary>Keep the k most probable tokens; 0 = all.</summary>
    public int TopK { get; init; }

    /// <summary>Keep the smallest set of most probable tokens whose probability reaches this; 1 = all. In (0, 1].</summary>
    public float TopP { get; init; } = 1;

    /// <summary>Drop tokens less probable than this share of the most probable one; 0 = none. In [0, 1].</summary>
    public float MinP { get; init; }

    /// <summary>Logits of tokens already in prompt or output: divided by it when positive, multiplied when negative; 1 = off.</summary>
    public float RepetitionPenalty { get; init; } = 1;

    /// <summary>Subtracted from a token's logit per occurrence in the output; 0 = off.</summary>
    public float FrequencyPenalty { get; init; }

    /// <summary>Subtracted from the logit of any token that occurs in the output; 0 = off.</summary>
    public float PresencePenalty { get; init; }

    /// <summary>Seed of the random stream. The draw for output token i depends on (seed, i) alone.</summary>
    public ulong Seed { get; init; }
}

using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Sampling;

/// <summary>
/// How the next token is chosen from the target's logits. Order of application: penalties, temperature, top-k, top-p, min-p.
/// The defaults are greedy decoding without penalties.
/// </summary>
public sealed record SamplingOptions
{
    /// <summary>Above this every distribution is uniform for practical purposes; a larger value is a slip.</summary>
    private const float LargestTemperature = 100;

    private const float LargestPenalty = 100;

    /// <summary>0 = greedy (argmax, ties to the lower id); otherwise logits are divided by it. In [0, 100].</summary>
    public float Temperature { get; init; }

    /// <summary>Keep the k most probable tokens, ties to the lower id; 0 = all.</summary>
    public int TopK { get; init; }

    /// <summary>
    /// Keep the smallest set of most probable tokens whose probability (among what top-k keeps) reaches this, ties to the lower id;
    /// 1 = all. In (0, 1].
    /// </summary>
    public float TopP { get; init; } = 1;

    /// <summary>Drop tokens less probable than this share of the most probable one, both after temperature; 0 = none. In [0, 1].</summary>
    public float MinP { get; init; }

    /// <summary>Logits of tokens already in prompt or output: divided by it when positive, multiplied when negative; 1 = off. Above 0.</summary>
    public float RepetitionPenalty { get; init; } = 1;

    /// <summary>Subtracted from a token's logit per occurrence in the output; 0 = off. In [-100, 100].</summary>
    public float FrequencyPenalty { get; init; }

    /// <summary>Subtracted from the logit of any token that occurs in the output; 0 = off. In [-100, 100].</summary>
    public float PresencePenalty { get; init; }

    /// <summary>Seed of the random stream. The draw for output token i depends on (seed, i) alone.</summary>
    public ulong Seed { get; init; }

    /// <summary>Whether any penalty changes logits: then the choice depends on the tokens committed so far.</summary>
    internal bool HasPenalties => RepetitionPenalty != 1 || FrequencyPenalty != 0 || PresencePenalty != 0;

    /// <summary>Refuses options out of range, so that a request fails before anything runs.</summary>
    /// <exception cref="InputException">An option is out of range; the message names it, what was found and what is expected.</exception>
    public void Validate()
    {
        // The conditions are phrased so that NaN fails every one of them.
        Require(Temperature is >= 0 and <= LargestTemperature, "temperature", Temperature, "a number from 0 (greedy) to 100");
        Require(TopK >= 0, "top-k", TopK, "0 (all tokens) or the number of tokens to keep");
        Require(TopP is > 0 and <= 1, "top-p", TopP, "a number above 0 and at most 1 (all tokens)");
        Require(MinP is >= 0 and <= 1, "min-p", MinP, "a number from 0 (all tokens) to 1");
        Require(RepetitionPenalty is > 0 and < float.PositiveInfinity, "repetition penalty", RepetitionPenalty, "a finite number above 0 (1 = off)");
        Require(FrequencyPenalty is >= -LargestPenalty and <= LargestPenalty, "frequency penalty", FrequencyPenalty, "a number from -100 to 100 (0 = off)");
        Require(PresencePenalty is >= -LargestPenalty and <= LargestPenalty, "presence penalty", PresencePenalty, "a number from -100 to 100 (0 = off)");
    }

    private static void Require(bool holds, string option, object found, string expected)
    {
        if (!holds)
        {
            throw new InputException($"Sampling option {option} is {found}; it must be {expected}.");
        }
    }
}

using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Sampling;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Decoding;

/// <summary>What to write. Exactly one of <see cref="Prompt"/>, <see cref="PromptIds"/> and <see cref="Messages"/> is set.</summary>
public sealed record GenerationRequest
{
    /// <summary>Plain text to continue; control tokens spelled out in it stay text.</summary>
    public string? Prompt { get; init; }

    /// <summary>Token ids to continue.</summary>
    public IReadOnlyList<int>? PromptIds { get; init; }

    /// <summary>A conversation, rendered by the model's chat template with the generation prompt added.</summary>
    public IReadOnlyList<ChatMessage>? Messages { get; init; }

    /// <summary>Drafter, or null for plain decoding.</summary>
    public Drafter? Drafter { get; init; }

    /// <summary>Draft tree; null = no drafting.</summary>
    public TreeSettings? Tree { get; init; } = TreeSettings.Auto;

    /// <summary>Whether prompt lookup joins the drafter where the tree is <see cref="TreeSettings.Auto"/>; without a drafter nothing is drafted.</summary>
    public LookupMode Lookup { get; init; }

    /// <summary>Most new tokens, at least 1.</summary>
    public int MaxNewTokens { get; init; } = 256;

    /// <summary>How tokens are chosen.</summary>
    public SamplingOptions Sampling { get; init; } = new();

    /// <summary>Tokens that end the text besides the model's own end tokens.</summary>
    public IReadOnlyList<int> StopTokens { get; init; } = [];

    /// <summary>Strings that end the text; they and what follows are cut from <see cref="GenerationChunk.Text"/>. Needs a tokenizer.</summary>
    public IReadOnlyList<string> StopStrings { get; init; } = [];

    /// <summary>Whether the model's end tokens are ignored (benchmarks).</summary>
    public bool IgnoreEndTokens { get; init; }
}

/// <summary>Why a generation ended.</summary>
public enum FinishReason
{
    /// <summary>An end token, stop token or stop string.</summary>
    Stop,

    /// <summary>MaxNewTokens, the end of the context, or, remotely, a server that stayed away.</summary>
    Length,

    /// <summary>Cancelled by the caller.</summary>
    Cancelled,
}

/// <summary>What one cycle (or prefill) added.</summary>
/// <param name="Text">Text that became complete; "" where the model has no tokenizer.</param>
/// <param name="Tokens">New token ids.</param>
/// <param name="Accepted">How many of them, from the first, the drafter proposed; the rest is the target's own.</param>
public readonly record struct GenerationChunk(string Text, ReadOnlyMemory<int> Tokens, int Accepted);

/// <summary>Figures of one generation.</summary>
public sealed record GenerationStatistics
{
    /// <summary>Tokens of the prompt.</summary>
    public int PromptTokens { get; init; }

    /// <summary>New tokens, the first one (from prefill) and an end token included.</summary>
    public int NewTokens { get; init; }

    /// <summary>Target passes after prefill (one per cycle).</summary>
    public int TargetPasses { get; init; }

    /// <summary>Acceptance length: tokens committed by cycles / target passes, bonus included, prefill and its token excluded; 0 where there was no pass.</summary>
    public double Tau => TargetPasses == 0 ? 0 : (NewTokens - 1) / (double)TargetPasses;

    /// <summary>Accepted draft tokens per cycle.</summary>
    public IReadOnlyList<int> Accepted { get; init; } = [];

    /// <summary>[d] = cycles that accepted a node of depth d+1.</summary>
    public IReadOnlyList<int> AcceptedPerDepth { get; init; } = [];

    /// <summary>Draft nodes verified in all.</summary>
    public long DraftedNodes { get; init; }

    /// <summary>Seconds in the prompt's passes, first token included.</summary>
    public double PrefillSeconds { get; init; }

    /// <summary>Seconds in the drafter (its part of prefill excluded).</summary>
    public double DraftSeconds { get; init; }

    /// <summary>Seconds in the target's passes after prefill.</summary>
    public double VerifySeconds { get; init; }

    /// <summary>Seconds in everything else after prefill: acceptance, compaction, detokenizing.</summary>
    public double OtherSeconds { get; init; }

    /// <summary>New tokens after the first, per second after prefill.</summary>
    public double TokensPerSecond
    {
        get
        {
            double seconds = DraftSeconds + VerifySeconds + OtherSeconds;
            return seconds <= 0 ? 0 : (NewTokens - 1) / seconds;
        }
    }
}

/// <summary>A finished generation.</summary>
/// <param name="PromptIds">The prompt as the target read it.</param>
/// <param name="OutputIds">New tokens, an end token included where one was written.</param>
/// <param name="Text">Text of the output without control tokens, cut at a stop string; null where the model has no tokenizer.</param>
/// <param name="FinishReason">Why it ended.</param>
/// <param name="Statistics">Figures.</param>
public sealed record GenerationResult(
    IReadOnlyList<int> PromptIds, IReadOnlyList<int> OutputIds, string? Text, FinishReason FinishReason, GenerationStatistics Statistics);

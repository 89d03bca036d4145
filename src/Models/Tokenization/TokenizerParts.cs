namespace LowLevelSpec.Models;

/// <summary>What a tokenizer is made of, whichever file it comes from. Checked by the reader of that file.</summary>
internal sealed class TokenizerParts
{
    /// <summary>The vocabulary.</summary>
    public required TokenTable Tokens { get; init; }

    /// <summary>The merges.</summary>
    public required MergeTable Merges { get; init; }

    /// <summary>Added tokens, in the file's order.</summary>
    public required IReadOnlyList<AddedToken> AddedTokens { get; init; }

    /// <summary>Whether an added token in the vocabulary is written as it is, not in the byte alphabet.</summary>
    public bool AddedTokensArePlain { get; init; }

    /// <summary>The steps that cut text into pre-tokens; each pre-token's bytes are then merged.</summary>
    public required PreTokenStep[] PreTokenSteps { get; init; }

    /// <summary>Whether text is brought to Unicode form C.</summary>
    public bool NormalizesToNfc { get; init; }

    /// <summary>Whether a pre-token that is a token needs no merges.</summary>
    public bool IgnoresMerges { get; init; }

    /// <summary>The token for bytes that the vocabulary lacks, or -1: such bytes are dropped.</summary>
    public int UnknownId { get; init; } = -1;

    /// <summary>Whether neighbouring unknown bytes make one token.</summary>
    public bool FusesUnknown { get; init; }

    /// <summary>Ids that decode to nothing although they have a text (padding of the vocabulary).</summary>
    public IReadOnlySet<int> Undecoded { get; init; } = new HashSet<int>();

    /// <summary>The token that begins a text.</summary>
    public int? BosId { get; init; }

    /// <summary>Whether the files say that a text is fed with <see cref="BosId"/> in front.</summary>
    public bool AddsBegin { get; init; }

    /// <summary>The token that ends a turn or text.</summary>
    public int? EosId { get; init; }

    /// <summary>The chat template.</summary>
    public ChatTemplate? Template { get; init; }
}

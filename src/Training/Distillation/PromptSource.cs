using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Sampling;
using LowLevelSpec.Models;

namespace LowLevelSpec.Training.Distillation;

/// <summary>Where the prompts of a distillation come from. Prompt i is a function of the source and i alone.</summary>
public abstract class PromptSource
{
    private protected PromptSource()
    {
    }

    /// <summary>What tells this source from others.</summary>
    public abstract string Fingerprint { get; }

    /// <summary>What sequence <paramref name="index"/> begins with.</summary>
    internal abstract SequenceStart Begin(long index);

    /// <summary>Whether a sampled token ends the user turn.</summary>
    internal virtual bool EndsTurn(int token) => false;

    /// <summary>The prompt that a sampled user turn makes, or null where it is no good.</summary>
    internal virtual int[]? Prompt(List<int> tokens) => null;

    private protected static string Hash(ReadOnlySpan<byte> bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes))[..16];
}

/// <summary>Prompts that are there from the beginning.</summary>
/// <param name="prompts">Ids; none is empty or as long as the target's context.</param>
public sealed class GivenPrompts(IReadOnlyList<int[]> prompts) : PromptSource
{
    /// <inheritdoc/>
    public override string Fingerprint { get; } = "prompts " + Hash(MemoryMarshal.AsBytes<int>(prompts.SelectMany(static p => p.Prepend(p.Length)).ToArray()));

    /// <summary>Prompts in all.</summary>
    public int Count => prompts.Count;

    internal override SequenceStart Begin(long index) => new(prompts[(int)index]);
}

/// <summary>
/// User turns that the target writes itself: sampled after the chat template's user header and given first words. The sampled ids
/// become text and the text goes through the template, so a prompt is exactly what a user who typed that text would send; control tokens
/// spelled out in it stay text.
/// </summary>
public sealed class SelfWrittenTurns : PromptSource
{
    /// <summary>Most sampled tokens of a turn, and fewest tokens of a turn, first words included.</summary>
    internal const int MostTokens = 96, FewestTokens = 6;

    // Private-use characters, which no template writes or trims.
    private const string Mark = "\uE0F1\uE0F2\uE0F3";

    private const float Temperature = 0.9f, TopP = 0.95f;

    private readonly Tokenizer _tokenizer;
    private readonly int _vocabularySize, _turnEnd;
    private readonly int[] _header;
    private readonly int[][] _starts;
    private readonly ulong _seed;

    /// <summary>Finds the user header and what ends a user's turn in the target's chat template.</summary>
    /// <param name="model">The target.</param>
    /// <param name="starts">First words; turn i begins with number i modulo their count. Empty = the built-in ones.</param>
    /// <param name="seed">Seed of the turns.</param>
    /// <exception cref="InputException">The target has no chat template, or one whose user turns can't be told apart.</exception>
    public SelfWrittenTurns(LanguageModel model, IReadOnlyList<string> starts, ulong seed)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(starts);
        _tokenizer = model.Tokenizer ?? throw new InputException("this model comes without a tokenizer, so it can't write user turns: give prompts from files");
        _vocabularySize = model.Config.VocabularySize;
        _seed = seed;
        _turnEnd = FirstSpecial(AfterTurn(addGenerationPrompt: false)) ?? FirstSpecial(AfterTurn(addGenerationPrompt: true))
            ?? throw new InputException("the model's chat template ends a user's turn with plain text, not with a control token: give prompts from files");

        // What two turns that differ from their first letter on have in common is the header, with the very ids that EncodeChat gives it:
        // a template may spell it with the message's role, which is text from outside.
        int[] one = _tokenizer.EncodeChat([new ChatMessage("user", "A")]), other = _tokenizer.EncodeChat([new ChatMessage("user", "b")]);
        _header = one[..one.AsSpan().CommonPrefixLength(other)];
        starts = starts.Count > 0 ? starts : TurnStarts.BuiltIn;
        _starts = [.. starts.Select(start => _tokenizer.Encode(start))];
        int longest = _header.Length + _starts.Max(static s => s.Length);
        if (longest == 0 || longest + FewestTokens >= model.ContextLength)
        {
            throw new InputException($"user header and first words have {longest} tokens and the context {model.ContextLength}: give prompts from files, or other first words");
        }

        Fingerprint = $"own user turns, seed {seed}, first words {Hash(Encoding.UTF8.GetBytes(string.Join('\n', starts)))}";
    }

    /// <inheritdoc/>
    public override string Fingerprint { get; }

    internal override SequenceStart Begin(long index)
    {
        SamplingOptions options = new() { Temperature = Temperature, TopP = TopP, Seed = SequenceSeed.OfTurn(_seed, index) };
        int[] tokens = [.. _header, .. _starts[index % _starts.Length]];
        return new SequenceStart(tokens, new TokenSampler(options, _vocabularySize, tokens), MostTokens);
    }

    // Any control token ends the sampling: a turn with another one than the template's is of no use.
    internal override bool EndsTurn(int token) => token == _turnEnd || _tokenizer.IsSpecial(token);

    internal override int[]? Prompt(List<int> tokens)
    {
        ReadOnlySpan<int> turn = CollectionsMarshal.AsSpan(tokens)[_header.Length..^1];
        if (tokens[^1] != _turnEnd || turn.Length < FewestTokens)
        {
            return null;
        }

        // Half a character, which no user types.
        string text = _tokenizer.Decode(turn);
        return text.Contains('\uFFFD') ? null : _tokenizer.EncodeChat([new ChatMessage("user", text)]);
    }

    private string AfterTurn(bool addGenerationPrompt)
    {
        string rendered = _tokenizer.RenderChat([new ChatMessage("user", Mark)], addGenerationPrompt);
        int at = rendered.IndexOf(Mark, StringComparison.Ordinal);
        return at >= 0
            ? rendered[(at + Mark.Length)..]
            : throw new InputException("the model's chat template does not show a user's message as it is: give prompts from files");
    }

    private int? FirstSpecial(string text)
    {
        int[] special = [.. _tokenizer.Encode(text, allowSpecial: true).Where(_tokenizer.IsSpecial).Take(1)];
        return special.Length > 0 ? special[0] : null;
    }
}

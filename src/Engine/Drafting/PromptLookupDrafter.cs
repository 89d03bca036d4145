using LowLevelSpec.Engine.Target;

namespace LowLevelSpec.Engine.Drafting;

/// <summary>
/// Prompt lookup: proposes what followed the last tokens when they occurred before, in prompt or output. No weights, so every
/// model can speculate. Copying, summaries and code edits profit.
/// </summary>
internal sealed class PromptLookupDrafter : Drafter
{
    public override string Kind => "lookup";

    internal override DraftSession CreateSession(DraftContext context) => new PromptLookupSession(context);
}

/// <summary>
/// An index of all n-grams (n = 1..4) of the sequence: per n a hash table of the latest end position and a chain to earlier ones. Longer
/// matches first, later occurrences first; their continuations are merged into one tree.
/// </summary>
internal sealed class PromptLookupSession : DraftSession
{
    private const int MaxNgram = 4;

    /// <summary>Chain links followed per n: bounds the time on texts that repeat one token.</summary>
    private const int MaxProbes = 64;

    private readonly SequenceState _sequence;
    private readonly TreeSettings _settings;
    private readonly int[][] _heads = new int[MaxNgram + 1][];
    private readonly int[][] _previous = new int[MaxNgram + 1][];
    private readonly int _mask;
    private int _indexed;

    public PromptLookupSession(DraftContext context)
    {
        (_sequence, _settings) = (context.Sequence, context.Tree);
        int size = (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)Math.Max(16, context.MaxTokens));
        _mask = size - 1;
        for (int n = 1; n <= MaxNgram; n++)
        {
            _heads[n] = new int[size];
            _heads[n].AsSpan().Fill(-1);
            _previous[n] = new int[context.MaxTokens + 1];
        }
    }

    /// <summary>Nothing to do: <see cref="Draft"/> indexes new tokens itself.</summary>
    public override void Observe(in VerifiedRows rows)
    {
    }

    public override void Draft(DraftTree tree)
    {
        ReadOnlySpan<int> tokens = _sequence.Tokens.AsSpan(0, _sequence.Count);
        tree.Reset(new TokenId(tokens[^1]));

        // The n-grams that end at the last token are looked up before they are indexed, so they do not find themselves.
        for (; _indexed < tokens.Length - 1; _indexed++)
        {
            for (int n = 1; n <= Math.Min(MaxNgram, _indexed + 1); n++)
            {
                int slot = Hash(tokens.Slice(_indexed + 1 - n, n));
                _previous[n][_indexed] = _heads[n][slot];
                _heads[n][slot] = _indexed;
            }
        }

        int branches = 0;
        for (int n = Math.Min(MaxNgram, tokens.Length - 1); n >= 1 && branches < _settings.Breadth; n--)
        {
            ReadOnlySpan<int> suffix = tokens[^n..];
            int end = _heads[n][Hash(suffix)];
            for (int probe = 0; probe < MaxProbes && end >= 0 && branches < _settings.Breadth; probe++, end = _previous[n][end])
            {
                if (tokens.Slice(end + 1 - n, n).SequenceEqual(suffix) && AddContinuation(tree, tokens, end + 1))
                {
                    branches++;
                }
            }
        }
    }

    /// <summary>Merges the tokens from position <paramref name="start"/> into the tree; false where nothing was new.</summary>
    private bool AddContinuation(DraftTree tree, ReadOnlySpan<int> tokens, int start)
    {
        int count = Math.Min(_settings.Depth - 1, tokens.Length - start);
        NodeIndex node = NodeIndex.Root;
        bool added = false;
        for (int i = 0; i < count; i++)
        {
            TokenId token = new(tokens[start + i]);
            if (!tree.TryGetChild(node, token, out NodeIndex child))
            {
                if (tree.Count > _settings.TotalTokens)
                {
                    break;
                }

                // A match carries no probability; 0 keeps it neutral.
                child = tree.Add(node, token, 0);
                added = true;
            }

            node = child;
        }

        return added;
    }

    private int Hash(ReadOnlySpan<int> ngram)
    {
        uint hash = (uint)ngram.Length;
        foreach (int token in ngram)
        {
            hash = (hash ^ (uint)token) * 0x9E3779B1u;
            hash ^= hash >> 15;
        }

        return (int)(hash & (uint)_mask);
    }
}

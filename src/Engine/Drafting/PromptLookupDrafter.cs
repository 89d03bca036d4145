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

/// <summary>Longer matches first, later occurrences first; their continuations are merged into one tree.</summary>
internal sealed class PromptLookupSession(DraftContext context) : DraftSession
{
    private readonly SequenceState _sequence = context.Sequence;
    private readonly TreeSettings _settings = context.Tree;
    private readonly LookupIndex _index = new(context.MaxTokens);

    /// <summary>Nothing to do: <see cref="Draft"/> indexes new tokens itself.</summary>
    public override void Observe(in VerifiedRows rows)
    {
    }

    public override void Draft(DraftTree tree)
    {
        ReadOnlySpan<int> tokens = _sequence.Tokens.AsSpan(0, _sequence.Count);
        tree.Reset(new TokenId(tokens[^1]));
        _index.Update(tokens);
        int branches = 0;
        for (int n = Math.Min(LookupIndex.MaxNgram, tokens.Length - 1); n >= 1 && branches < _settings.Breadth; n--)
        {
            foreach (int start in _index.Find(tokens, n))
            {
                if (AddContinuation(tree, tokens, start) && ++branches == _settings.Breadth)
                {
                    break;
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
}

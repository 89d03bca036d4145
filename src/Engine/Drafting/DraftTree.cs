namespace LowLevelSpec.Engine.Drafting;

/// <summary>
/// A tree of drafted tokens: node 0 is the root (the last committed token), parents precede children. What drafter and verifier
/// meet in. At most 64 nodes, so that a node's ancestors fit a 64-bit mask. Reused from cycle to cycle.
/// </summary>
public sealed class DraftTree
{
    /// <summary>Most nodes, root included.</summary>
    public const int MaxNodes = 64;

    /// <summary>Most rows of <see cref="LogitRows"/>.</summary>
    internal const int MostLogitRows = 8;

    /// <summary>Where nobody says more: the head is read once for the root and its best children, which a walk likely visits.</summary>
    private const int UsualLogitRows = 4;

    private readonly int[] _tokens = new int[MaxNodes], _parents = new int[MaxNodes], _depths = new int[MaxNodes];
    private readonly float[] _logProbabilities = new float[MaxNodes];
    private readonly ulong[] _masks = new ulong[MaxNodes];

    /// <summary>Nodes, root included.</summary>
    public int Count { get; private set; }

    /// <summary>Token of each node.</summary>
    public ReadOnlySpan<int> Tokens => _tokens.AsSpan(0, Count);

    /// <summary>Parent of each node, -1 for the root.</summary>
    public ReadOnlySpan<int> Parents => _parents.AsSpan(0, Count);

    /// <summary>Distance from the root.</summary>
    public ReadOnlySpan<int> Depths => _depths.AsSpan(0, Count);

    /// <summary>Cumulative log-probability the drafter gives the path, 0 for the root.</summary>
    public ReadOnlySpan<float> LogProbabilities => _logProbabilities.AsSpan(0, Count);

    /// <summary>Nodes from the root on whose logits are computed at once, where the others' are computed when the walk visits them; at most <see cref="MostLogitRows"/>.</summary>
    internal int LogitRows { get; set; } = UsualLogitRows;

    /// <summary>Starts over with a root.</summary>
    public void Reset(TokenId root)
    {
        Count = 1;
        LogitRows = UsualLogitRows;
        _tokens[0] = root.Value;
        _parents[0] = -1;
        _depths[0] = 0;
        _logProbabilities[0] = 0;
        _masks[0] = 1;
    }

    /// <summary>Adds a child of <paramref name="parent"/>. Siblings must carry different tokens.</summary>
    /// <exception cref="InvalidOperationException">The tree is full, has no root, or the parent is not in it.</exception>
    public NodeIndex Add(NodeIndex parent, TokenId token, float logProbability)
    {
        if (Count == MaxNodes)
        {
            throw new InvalidOperationException($"a draft tree holds {MaxNodes} nodes");
        }

        if ((uint)parent.Value >= (uint)Count)
        {
            throw new InvalidOperationException($"parent {parent.Value} is not among the tree's {Count} nodes");
        }

        int node = Count++;
        _tokens[node] = token.Value;
        _parents[node] = parent.Value;
        _depths[node] = _depths[parent.Value] + 1;
        _logProbabilities[node] = logProbability;
        _masks[node] = _masks[parent.Value] | (1UL << node);
        return new NodeIndex(node);
    }

    /// <summary>Bit i is set where node i is an ancestor of <paramref name="node"/> or the node itself.</summary>
    public ulong AncestorMask(NodeIndex node) => _masks[node.Value];

    /// <summary>The child of <paramref name="node"/> that carries <paramref name="token"/>.</summary>
    public bool TryGetChild(NodeIndex node, TokenId token, out NodeIndex child)
    {
        for (int i = node.Value + 1; i < Count; i++)
        {
            if (_parents[i] == node.Value && _tokens[i] == token.Value)
            {
                child = new NodeIndex(i);
                return true;
            }
        }

        child = default;
        return false;
    }
}

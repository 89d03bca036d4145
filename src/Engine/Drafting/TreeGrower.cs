using LowLevelSpec.Engine.Backends;

namespace LowLevelSpec.Engine.Drafting;

/// <summary>
/// Grows a draft tree level by level from a drafter's logits (paper section 4, EAGLE-2's rule): the root's best <c>breadth</c> children
/// open the tree; each further level scores every frontier node's best <c>breadth</c> children and keeps the best <c>breadth</c> of them as the next
/// frontier; at the end the <c>total</c> best of all scored nodes form the tree. Scores are cumulative log-probabilities; ties go to the node
/// scored first, which is never a child before its parent, so a chosen node's ancestors are always chosen too.
/// Allocates only when created.
/// </summary>
internal sealed class TreeGrower
{
    private readonly IBackend _backend;
    private readonly int[]? _columnTokens;
    private readonly int[] _topTokens;
    private readonly float[] _topLogProbabilities;
    private readonly int[] _scoredTokens, _scoredParents, _order, _chosen, _nodeOf;
    private readonly float[] _scores;
    private readonly int[] _frontierScored, _nextFrontier, _frontierParents, _frontierTokens;
    private readonly float[] _frontierScores;
    private readonly int _total;
    private int _scoredCount, _levelStart;
    private int _root;

    /// <param name="backend">Where the logits live.</param>
    /// <param name="settings">Depth, breadth, total tokens.</param>
    /// <param name="vocabularySize">Columns of the logits; bounds the breadth.</param>
    /// <param name="columnTokens">Token of each column where the head is trimmed; null = its own number.</param>
    public TreeGrower(IBackend backend, TreeSettings settings, int vocabularySize, int[]? columnTokens = null)
    {
        _backend = backend;
        _columnTokens = columnTokens;
        Depth = settings.Depth;
        Breadth = Math.Min(settings.Breadth, vocabularySize);
        Width = Breadth;
        _total = settings.TotalTokens;
        int b = Breadth, scored = b + (Math.Max(0, Depth - 2) * b * b);
        _topTokens = new int[b * b];
        _topLogProbabilities = new float[b * b];
        _scoredTokens = new int[scored];
        _scoredParents = new int[scored];
        _scores = new float[scored];
        _order = new int[scored];
        _chosen = new int[scored];
        _nodeOf = new int[scored];
        _frontierScored = new int[b];
        _nextFrontier = new int[b];
        _frontierParents = new int[b];
        _frontierTokens = new int[b];
        _frontierScores = new float[b];
    }

    /// <summary>Levels, root included.</summary>
    public int Depth { get; }

    /// <summary>Nodes per level.</summary>
    public int Breadth { get; }

    /// <summary>Frontier nodes whose children the next <see cref="Grow"/> scores, best first: all of them unless narrowed.</summary>
    public int Width { get; private set; }

    /// <summary>Tokens of the current frontier.</summary>
    public ReadOnlySpan<int> FrontierTokens => _frontierTokens;

    /// <summary>Index of each frontier node's parent in the previous frontier (0 = root at the first level).</summary>
    public ReadOnlySpan<int> FrontierParents => _frontierParents;

    /// <summary>Cumulative log-probabilities of the current frontier.</summary>
    public ReadOnlySpan<float> FrontierScores => _frontierScores;

    /// <summary>All scored nodes in scoring order: tokens.</summary>
    public ReadOnlySpan<int> ScoredTokens => _scoredTokens.AsSpan(0, _scoredCount);

    /// <summary>All scored nodes: parents as indices into this list, -1 = root.</summary>
    public ReadOnlySpan<int> ScoredParents => _scoredParents.AsSpan(0, _scoredCount);

    /// <summary>All scored nodes: cumulative log-probabilities.</summary>
    public ReadOnlySpan<float> Scores => _scores.AsSpan(0, _scoredCount);

    /// <summary>Indices of the chosen nodes in the scored list, ascending; node i+1 of the tree is chosen i.</summary>
    public ReadOnlySpan<int> Chosen => _chosen.AsSpan(0, Math.Min(_total, _scoredCount));

    /// <summary>Starts from the root's logits [1, V].</summary>
    public void Start(TokenId root, Matrix logits)
    {
        int b = Breadth;
        _root = root.Value;
        _levelStart = 0;
        _scoredCount = b;
        _backend.TopLogProbabilities(logits, b, _topTokens.AsSpan(0, b), _topLogProbabilities.AsSpan(0, b));
        NameTokens(b);
        for (int i = 0; i < b; i++)
        {
            _scoredTokens[i] = _topTokens[i];
            _scoredParents[i] = -1;
            _scores[i] = _topLogProbabilities[i];
            _frontierScored[i] = i;
            _frontierParents[i] = 0;
        }

        CopyFrontier();
    }

    /// <summary>Leaves all but the best <paramref name="width"/> (1..breadth) frontier nodes without children.</summary>
    public void Narrow(int width)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(width, Breadth);
        Width = width;
    }

    /// <summary>Scores the frontier's children from its logits [width, V] and chooses the next frontier.</summary>
    public void Grow(Matrix logits)
    {
        int b = Breadth, width = Width;
        _levelStart = _scoredCount;
        _backend.TopLogProbabilities(logits, b, _topTokens.AsSpan(0, width * b), _topLogProbabilities.AsSpan(0, width * b));
        NameTokens(width * b);
        for (int i = 0; i < width; i++)
        {
            for (int j = 0; j < b; j++)
            {
                int scored = _scoredCount++;
                _scoredTokens[scored] = _topTokens[(i * b) + j];
                _scoredParents[scored] = _frontierScored[i];
                _scores[scored] = _frontierScores[i] + _topLogProbabilities[(i * b) + j];
            }
        }

        int count = _scoredCount - _levelStart;
        SortByScore(_levelStart, count);
        for (int i = 0; i < b; i++)
        {
            _nextFrontier[i] = _order[i];
            _frontierParents[i] = (_order[i] - _levelStart) / b;
        }

        _nextFrontier.CopyTo(_frontierScored.AsSpan());
        CopyFrontier();
    }

    /// <summary>Writes the best nodes of all into <paramref name="tree"/>, in scoring order.</summary>
    public void Select(DraftTree tree)
    {
        tree.Reset(new TokenId(_root));
        int n = Math.Min(_total, _scoredCount);
        SortByScore(0, _scoredCount);
        _order.AsSpan(0, n).CopyTo(_chosen);
        _chosen.AsSpan(0, n).Sort();
        for (int i = 0; i < n; i++)
        {
            int scored = _chosen[i], parent = _scoredParents[scored];
            NodeIndex node = tree.Add(parent < 0 ? NodeIndex.Root : new NodeIndex(_nodeOf[parent]), new TokenId(_scoredTokens[scored]), _scores[scored]);
            _nodeOf[scored] = node.Value;
        }
    }

    /// <summary>Turns columns of a trimmed head into tokens.</summary>
    private void NameTokens(int count)
    {
        for (int i = 0; _columnTokens is not null && i < count; i++)
        {
            _topTokens[i] = _columnTokens[_topTokens[i]];
        }
    }

    private void CopyFrontier()
    {
        Width = Breadth;
        for (int i = 0; i < Breadth; i++)
        {
            _frontierTokens[i] = _scoredTokens[_frontierScored[i]];
            _frontierScores[i] = _scores[_frontierScored[i]];
        }
    }

    /// <summary>Fills _order with the indices start..start+count-1, best score first, ties to the lower index.</summary>
    private void SortByScore(int start, int count)
    {
        // Heap sort over at most a few thousand entries with an index tie-break: Array.Sort is unstable and a comparison delegate would allocate.
        for (int i = 0; i < count; i++)
        {
            _order[i] = start + i;
        }

        for (int i = (count / 2) - 1; i >= 0; i--)
        {
            SiftDown(i, count);
        }

        for (int end = count - 1; end > 0; end--)
        {
            (_order[0], _order[end]) = (_order[end], _order[0]);
            SiftDown(0, end);
        }
    }

    private void SiftDown(int i, int count)
    {
        while (true)
        {
            int child = (2 * i) + 1;
            if (child >= count)
            {
                return;
            }

            if (child + 1 < count && Before(_order[child], _order[child + 1]))
            {
                child++;
            }

            if (!Before(_order[i], _order[child]))
            {
                return;
            }

            (_order[i], _order[child]) = (_order[child], _order[i]);
            i = child;
        }
    }

    /// <summary>Whether node a sorts before node b; the heap keeps the last one on top.</summary>
    private bool Before(int a, int b) => _scores[a] > _scores[b] || (_scores[a] == _scores[b] && a < b);
}

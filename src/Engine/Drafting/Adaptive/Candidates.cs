using LowLevelSpec.Engine.Backends;

namespace LowLevelSpec.Engine.Drafting.Adaptive;

/// <summary>
/// The nodes that a step's tree is chosen from: what the drafter scored and prompt lookup's continuation, merged where they share a prefix,
/// each with the probability that its path comes true, which never exceeds its parent's. Allocates only when created.
/// </summary>
internal sealed class Candidates
{
    private const int Most = DraftTree.MaxNodes - 1;

    private readonly int[] _tokens, _parents, _depths, _best = new int[Most], _nodes;
    private readonly float[] _logProbabilities, _probabilities;
    private readonly bool[] _drafted, _expanded;
    private readonly int[] _sources = new int[DraftTree.MaxNodes];

    /// <param name="capacity">Most nodes.</param>
    public Candidates(int capacity)
    {
        _tokens = new int[capacity];
        _parents = new int[capacity];
        _depths = new int[capacity];
        _nodes = new int[capacity];
        _logProbabilities = new float[capacity];
        _probabilities = new float[capacity];
        _drafted = new bool[capacity];
        _expanded = new bool[capacity];
    }

    /// <summary>Nodes so far.</summary>
    public int Count { get; private set; }

    /// <summary>Nodes that <see cref="Rank"/> put in order.</summary>
    public int Ranked { get; private set; }

    /// <summary>Forgets all.</summary>
    public void Clear() => (Count, Ranked) = (0, 0);

    /// <summary>Depth of a candidate, 1 = a child of the root.</summary>
    public int Depth(int candidate) => _depths[candidate];

    /// <summary>Probability of the path down to the candidate of a rank, 0 = the most probable.</summary>
    public float Probability(int rank) => _probabilities[_best[rank]];

    /// <summary>The drafter's own log-probability of a tree node's path.</summary>
    public float LogProbability(int node) => _logProbabilities[_sources[node]];

    /// <summary>Whether the drafter (and not prompt lookup alone) proposed a tree node.</summary>
    public bool IsDrafted(int node) => _drafted[_sources[node]];

    /// <summary>Whether the drafter scored a tree node's children.</summary>
    public bool IsExpanded(int node) => _expanded[_sources[node]];

    /// <summary>Takes over the grower's scored nodes; candidate i is its scored node i.</summary>
    public void AddDrafted(TreeGrower grower, AcceptanceTable table)
    {
        ReadOnlySpan<int> tokens = grower.ScoredTokens, parents = grower.ScoredParents;
        ReadOnlySpan<float> scores = grower.Scores;
        for (int i = 0; i < tokens.Length; i++)
        {
            int parent = parents[i], depth = parent < 0 ? 1 : _depths[parent] + 1;
            float probability = table.Path(depth, scores[i]);
            if (parent >= 0)
            {
                _expanded[parent] = true;
            }

            Add(tokens[i], parent, depth, scores[i], parent < 0 ? probability : MathF.Min(probability, _probabilities[parent]), drafted: true);
        }
    }

    /// <summary>Merges a continuation: where a node is there already it becomes as probable as the likelier of the two says.</summary>
    public void AddContinuation(ReadOnlySpan<int> continuation, int matchLength, AcceptanceTable table)
    {
        int parent = -1;
        float path = 1;
        for (int i = 0; i < continuation.Length && Count < _tokens.Length; i++)
        {
            path *= table.Lookup(matchLength, i + 1);
            int child = Find(parent, continuation[i]);
            if (child < 0)
            {
                child = Count;
                Add(continuation[i], parent, i + 1, MathF.Log(path), path, drafted: false);
            }
            else
            {
                _probabilities[child] = MathF.Max(_probabilities[child], path);
            }

            parent = child;
        }
    }

    /// <summary>Puts the most probable candidates above <paramref name="least"/> in order, ties to the one added first, so that a node's ancestors stand before it.</summary>
    public void Rank(float least)
    {
        int count = 0;
        for (int i = 0; i < Count; i++)
        {
            float p = _probabilities[i];
            if (p < least || (count == Most && p <= _probabilities[_best[count - 1]]))
            {
                continue;
            }

            int at = count == Most ? count - 1 : count++;
            for (; at > 0 && _probabilities[_best[at - 1]] < p; at--)
            {
                _best[at] = _best[at - 1];
            }

            _best[at] = i;
        }

        Ranked = count;
    }

    /// <summary>Makes the tree of the first <paramref name="count"/> ranked candidates.</summary>
    public void Write(DraftTree tree, int count)
    {
        // Ranks put parents first, and the nodes that the walk is likely to visit.
        foreach (int candidate in _best.AsSpan(0, count))
        {
            int parent = _parents[candidate];
            NodeIndex node = tree.Add(parent < 0 ? NodeIndex.Root : new NodeIndex(_nodes[parent]), new TokenId(_tokens[candidate]), _logProbabilities[candidate]);
            _nodes[candidate] = node.Value;
            _sources[node.Value] = candidate;
        }
    }

    private int Find(int parent, int token)
    {
        for (int i = parent + 1; i < Count; i++)
        {
            if (_parents[i] == parent && _tokens[i] == token)
            {
                return i;
            }
        }

        return -1;
    }

    private void Add(int token, int parent, int depth, float logProbability, float probability, bool drafted)
    {
        int i = Count++;
        (_tokens[i], _parents[i], _depths[i], _logProbabilities[i], _probabilities[i], _drafted[i], _expanded[i]) = (token, parent, depth, logProbability, probability, drafted, false);
    }
}

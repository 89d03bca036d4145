using System.Globalization;

namespace LowLevelSpec.Golden;

/// <summary>
/// Nodes with parents, known by their paths from the root: what stays the same when two nodes of nearly equal score change places.
/// </summary>
internal sealed class PathList
{
    private readonly int[] _parents;
    private readonly double[] _scores;
    private readonly Dictionary<string, int> _index = new(StringComparer.Ordinal);

    /// <param name="tokens">Token of each node.</param>
    /// <param name="parents">Index of each node's parent in this list, or -1; parents come first.</param>
    /// <param name="scores">Cumulative log-probability of each node.</param>
    public PathList(ReadOnlySpan<int> tokens, ReadOnlySpan<int> parents, ReadOnlySpan<double> scores)
    {
        _parents = parents.ToArray();
        _scores = scores.ToArray();
        Paths = new string[tokens.Length];
        for (int i = 0; i < Paths.Length; i++)
        {
            string token = tokens[i].ToString(CultureInfo.InvariantCulture);
            Paths[i] = parents[i] < 0 ? token : $"{Paths[parents[i]]}/{token}";
            _index.TryAdd(Paths[i], i);
        }
    }

    /// <summary>Tokens from the root's child (or the root) down to each node, joined.</summary>
    public string[] Paths { get; }

    /// <summary>Index of each node's parent, or -1.</summary>
    public ReadOnlySpan<int> Parents => _parents;

    /// <summary>Cumulative log-probabilities.</summary>
    public ReadOnlySpan<double> Scores => _scores;

    /// <summary>For each node of <paramref name="other"/> the node here with the same path; null where the two lists are not the same set.</summary>
    public int[]? PermutationTo(PathList other)
    {
        int[] permutation = new int[other.Paths.Length];
        for (int i = 0; i < permutation.Length; i++)
        {
            if (!_index.TryGetValue(other.Paths[i], out permutation[i]))
            {
                return null;
            }
        }

        return _index.Count == permutation.Length && Paths.Length == permutation.Length ? permutation : null;
    }

    /// <summary>
    /// Largest score gap among the pairs that changed places. Scoring order is by level, then by the parent's rank in its frontier, then by the rank
    /// among its siblings; so siblings are decided by their own scores and others by their parents'. Zero where nothing changed places.
    /// </summary>
    public double LargestInvertedGap(int[] permutation)
    {
        double largest = 0;
        for (int i = 0; i < permutation.Length; i++)
        {
            for (int j = i + 1; j < permutation.Length; j++)
            {
                int a = permutation[i], b = permutation[j];
                if (a > b)
                {
                    int pa = _parents[a], pb = _parents[b];
                    double gap = Depth(a) != Depth(b) ? double.PositiveInfinity
                        : pa == pb ? _scores[a] - _scores[b]
                        : _scores[pa] - _scores[pb];
                    largest = Math.Max(largest, Math.Abs(gap));
                }
            }
        }

        return largest;
    }

    private int Depth(int node)
    {
        int depth = 0;
        for (; _parents[node] >= 0; node = _parents[node])
        {
            depth++;
        }

        return depth;
    }
}

using LowLevelSpec.Engine.Drafting;

namespace LowLevelSpec.Golden;

/// <summary>What a comparison of one cycle's tree and acceptance found.</summary>
/// <param name="Difference">What differs; null where nothing does.</param>
/// <param name="LargestError">Largest difference of a log-probability.</param>
/// <param name="Note">A change of order that near ties explain.</param>
internal readonly record struct TreeResult(string? Difference, double LargestError, string? Note);

/// <summary>Compares the draft tree and the accepted path of one cycle with the reference's.</summary>
internal static class TreeComparison
{
    /// <param name="tree">The engine's tree.</param>
    /// <param name="accepted">The nodes it accepted.</param>
    /// <param name="prefix">Verified tokens before the cycle.</param>
    /// <param name="bonus">The target's token after them, or null where the text ended before it.</param>
    /// <param name="expected">The reference's cycle.</param>
    public static TreeResult Compare(DraftTree tree, ReadOnlySpan<int> accepted, int prefix, int? bonus, TranscriptCycle expected)
    {
        if (prefix != expected.Prefix)
        {
            return Different($"prefix {prefix}, expected {expected.Prefix}");
        }

        double[] scores = new double[tree.Count];
        for (int i = 0; i < scores.Length; i++)
        {
            scores[i] = tree.LogProbabilities[i];
        }

        PathList found = new(tree.Tokens, tree.Parents, scores), reference = new(expected.Tokens, expected.Parents, expected.LogProbs);
        if (found.PermutationTo(reference) is not int[] order)
        {
            return Different(Describe(found, reference));
        }

        double largest = 0;
        for (int i = 0; i < order.Length; i++)
        {
            double error = Math.Abs(scores[order[i]] - expected.LogProbs[i]);
            if (!double.IsFinite(error) || error > Tolerances.TreeLogProbabilities.Absolute)
            {
                return new($"log-probability of path {reference.Paths[i]}: found {scores[order[i]]:G9}, expected {expected.LogProbs[i]:G9}", error, null);
            }

            if (tree.Depths[order[i]] != expected.Depths[i])
            {
                return Different($"depth of path {reference.Paths[i]}: found {tree.Depths[order[i]]}, expected {expected.Depths[i]}");
            }

            largest = Math.Max(largest, error);
        }

        double gap = found.LargestInvertedGap(order);
        if (gap >= Tolerances.SelectionGap.Absolute)
        {
            return new($"the same nodes in another order, though scores {gap:G3} apart decide it", largest, null);
        }

        int[] theirs = Array.ConvertAll(expected.AcceptedNodes, i => order[i]);
        if (!accepted.SequenceEqual(theirs))
        {
            return new($"accepted nodes [{string.Join(", ", accepted.ToArray())}], expected [{string.Join(", ", theirs)}]", largest, null);
        }

        if (bonus != expected.Bonus)
        {
            return new($"bonus {bonus?.ToString() ?? "none"}, expected {expected.Bonus?.ToString() ?? "none"}", largest, null);
        }

        bool moved = false;
        for (int i = 0; i < order.Length; i++)
        {
            moved |= order[i] != i;
        }

        return new(null, largest, moved ? $"same tree, nodes {gap:G2} apart in another order" : null);
    }

    private static TreeResult Different(string text) => new(text, 0, null);

    private static string Describe(PathList found, PathList reference)
    {
        string[] extra = [.. found.Paths.Except(reference.Paths)], missing = [.. reference.Paths.Except(found.Paths)];
        return $"another tree of {found.Paths.Length} nodes, expected {reference.Paths.Length}; not in the reference: {Some(extra)}; missing: {Some(missing)}";

        static string Some(string[] paths) => paths.Length == 0 ? "none" : string.Join(", ", paths.Take(4)) + (paths.Length > 4 ? $" and {paths.Length - 4} more" : "");
    }
}

using System.Globalization;

namespace LowLevelSpec.Golden;

/// <summary>
/// Nodes of nearly equal score may legitimately stand in another order than in the reference, and with them the rows of every later
/// stage. Where all inversions are explained by such gaps, the engine's values are put into the reference's order before they are compared.
/// </summary>
internal static class NearTieOrder
{
    /// <summary>Reorders the values of one cycle in <paramref name="found"/>; a sentence for the report where it did, else null.</summary>
    public static string? Align(SortedDictionary<string, GoldenTensor> found, SortedDictionary<string, GoldenTensor> expected, string cycle)
    {
        List<int[]> frontiers = [];
        PathList? scored = List(found, cycle + "scored"), tree = List(found, cycle + "tree");
        PathList? theirScored = List(expected, cycle + "scored"), theirTree = List(expected, cycle + "tree");
        if (tree is null || theirTree is null || tree.PermutationTo(theirTree) is not int[] nodes)
        {
            return null;
        }

        double gap = tree.LargestInvertedGap(nodes);
        int[]? scoredOrder = null;
        if (scored is not null && theirScored is not null)
        {
            if (scored.PermutationTo(theirScored) is not int[] order)
            {
                return null;
            }

            gap = Math.Max(gap, scored.LargestInvertedGap(order));
            scoredOrder = order;
        }

        for (int s = 1; found.ContainsKey(Frontier(s) + ".tokens") && expected.ContainsKey(Frontier(s) + ".tokens"); s++)
        {
            string[] mine = FrontierPaths(found, s), theirs = FrontierPaths(expected, s);
            int[] permutation = Array.ConvertAll(theirs, path => Array.IndexOf(mine, path));
            if (mine.Length != theirs.Length || permutation.Contains(-1))
            {
                return null;
            }

            gap = Math.Max(gap, FrontierGap(found[Frontier(s) + ".cum_log_probs"].Floats!, permutation));
            frontiers.Add(permutation);
        }

        bool inOrder = IsIdentity(nodes) && (scoredOrder is null || IsIdentity(scoredOrder)) && frontiers.TrueForAll(IsIdentity);
        if (inOrder || gap >= Tolerances.SelectionGap.Absolute)
        {
            return null;
        }

        Apply();
        return $"{(cycle.Length == 0 ? "cycle0." : cycle)[..^1]}: nodes whose scores differ by {gap:G2} at most stand in another order; compared in the reference's order";

        string Frontier(int s) => string.Create(CultureInfo.InvariantCulture, $"{cycle}frontier.{s}");

        string[] FrontierPaths(SortedDictionary<string, GoldenTensor> tensors, int s)
        {
            long[] tokens = tensors[Frontier(s) + ".tokens"].Integers!, parents = tensors[Frontier(s) + ".parents"].Integers!;
            string[] above = s == 1 ? [] : FrontierPaths(tensors, s - 1);
            return [.. tokens.Select((token, i) => s == 1 ? $"{token}" : $"{above[parents[i]]}/{token}")];
        }

        void Apply()
        {
            for (int s = 1; s <= frontiers.Count; s++)
            {
                int[] order = frontiers[s - 1];
                Rows(Frontier(s) + ".tokens", order);
                Rows(Frontier(s) + ".cum_log_probs", order);
                Rows(Frontier(s) + ".parents", order);
                if (s > 1)
                {
                    Renumber(Frontier(s) + ".parents", frontiers[s - 2]);
                }

                string step = string.Create(CultureInfo.InvariantCulture, $"{cycle}draft.{s + 1}.");
                foreach (string stage in (string[])["input_ids", "sa_output", "ca_output", "logits", "sa_mask"])
                {
                    Rows(step + stage, order);
                }

                if (found.TryGetValue(step + "sa_mask", out GoldenTensor? mask))
                {
                    int prefix = mask.Shape[1] - (s * order.Length);
                    Columns(step + "sa_mask", [.. Enumerable.Range(0, prefix), .. frontiers.Take(s).SelectMany((o, t) => o.Select(i => prefix + (t * order.Length) + i))]);
                }
            }

            if (scoredOrder is not null)
            {
                Reorder(cycle + "scored", scoredOrder);
                Renumber(cycle + "tree.flat_index", scoredOrder);
                found[cycle + "tree.flat_index"].Integers!.AsSpan().Sort();
            }

            Reorder(cycle + "tree", nodes);
            Rows(cycle + "tree.depths", nodes);
            Renumber(cycle + "tree.accepted_nodes", nodes);
            foreach (string stage in (string[])["input_ids", "positions", "hidden", "logits", "mask"])
            {
                Rows(cycle + "verify." + stage, nodes);
            }

            int first = found[cycle + "verify.mask"].Shape[1] - nodes.Length;
            Columns(cycle + "verify.mask", [.. Enumerable.Range(0, first), .. nodes.Select(n => first + n)]);
        }

        void Reorder(string list, int[] order)
        {
            Rows(list + ".tokens", order);
            Rows(list + ".cum_log_probs", order);
            Rows(list + ".parents", order);
            Renumber(list + ".parents", order);
        }

        void Rows(string name, int[] order)
        {
            if (found.TryGetValue(name, out GoldenTensor? t) && t.Shape[0] == order.Length)
            {
                int width = t.Count / order.Length;
                found[name] = t with
                {
                    Floats = t.Floats is null ? null : [.. order.SelectMany(i => t.Floats.Skip(i * width).Take(width))],
                    Integers = t.Integers is null ? null : [.. order.SelectMany(i => t.Integers.Skip(i * width).Take(width))],
                };
            }
        }

        void Columns(string name, int[] order)
        {
            GoldenTensor t = found[name];
            found[name] = t with { Integers = [.. Enumerable.Range(0, t.Shape[0]).SelectMany(row => order.Select(column => t.Integers![(row * order.Length) + column]))] };
        }

        void Renumber(string name, int[] order)
        {
            if (found.TryGetValue(name, out GoldenTensor? t))
            {
                found[name] = t with { Integers = Array.ConvertAll(t.Integers!, i => i < 0 ? i : Array.IndexOf(order, (int)i)) };
            }
        }
    }

    private static PathList? List(SortedDictionary<string, GoldenTensor> tensors, string list) =>
        tensors.TryGetValue(list + ".tokens", out GoldenTensor? tokens)
        && tensors.TryGetValue(list + ".parents", out GoldenTensor? parents)
        && tensors.TryGetValue(list + ".cum_log_probs", out GoldenTensor? scores)
        && tokens.Count == parents.Count && tokens.Count == scores.Count
            ? new PathList(tokens.Ids(), parents.Ids(), Array.ConvertAll(scores.Floats!, static f => (double)f))
            : null;

    private static double FrontierGap(float[] scores, int[] permutation)
    {
        double largest = 0;
        for (int i = 0; i < permutation.Length; i++)
        {
            for (int j = i + 1; j < permutation.Length; j++)
            {
                if (permutation[i] > permutation[j])
                {
                    largest = Math.Max(largest, Math.Abs(scores[permutation[i]] - scores[permutation[j]]));
                }
            }
        }

        return largest;
    }

    private static bool IsIdentity(int[] permutation)
    {
        for (int i = 0; i < permutation.Length; i++)
        {
            if (permutation[i] != i)
            {
                return false;
            }
        }

        return true;
    }
}

using System.Numerics;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Models;

namespace LowLevelSpec.Cli.Evaluation;

/// <summary>Draft trees as an evaluation names them.</summary>
internal static class EvalTrees
{
    /// <summary>5x4x24: depth, breadth, tokens.</summary>
    public static string Name(TreeSettings tree) => $"{tree.Depth}x{tree.Breadth}x{tree.TotalTokens}";

    /// <summary>Reads "8,24,62" (total tokens) or "5x4x24" (depth, breadth, total tokens).</summary>
    /// <exception cref="InputException">Anything else.</exception>
    public static IReadOnlyList<TreeSettings> Parse(string text)
    {
        List<TreeSettings> trees = [];
        foreach (string item in text.Split(',', StringSplitOptions.TrimEntries))
        {
            string[] parts = item.Split('x');
            int[] numbers = [.. parts.Select(static part => int.TryParse(part, out int number) ? number : -1)];
            if (parts.Length is not (1 or 3) || numbers.Contains(-1))
            {
                throw new InputException($"--trees: found '{item}', expected total tokens (24) or depth x breadth x total tokens (5x4x24), separated by commas");
            }

            TreeSettings tree = parts.Length == 3 ? new TreeSettings(numbers[0], numbers[1], numbers[2]) : OfTotal(numbers[0]);
            tree.Validate();
            if (trees.Contains(tree))
            {
                throw new InputException($"--trees: found '{item}' twice");
            }

            trees.Add(tree);
        }

        return trees;
    }

    /// <summary>A tree of about equal levels: 8 -> 4,2,8; 24 -> 5,4,24 (the default); 62 -> 7,8,62 (the paper's).</summary>
    private static TreeSettings OfTotal(int total)
    {
        int depth = BitOperations.Log2((uint)Math.Max(1, total) + 2) + 1;
        return new TreeSettings(depth, Math.Max(1, total / depth), total);
    }
}

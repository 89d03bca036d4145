using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Drafting;

/// <summary>Shape of the draft tree (paper section 4; reference setting 7, 8, 62).</summary>
/// <param name="Depth">Levels, the root included: Depth - 1 levels of drafted tokens. 2..32.</param>
/// <param name="Breadth">Nodes kept per level and children scored per node. 1..32; 1 gives a chain.</param>
/// <param name="TotalTokens">Drafted tokens verified per pass, the root not counted. 1..63.</param>
public sealed record TreeSettings(int Depth, int Breadth, int TotalTokens)
{
    /// <summary>
    /// Each step chooses: by measured costs and the drafter's own probabilities, within depth 12, breadth 8 and 63 tokens, and no tree at all where
    /// none pays.
    /// </summary>
    public static TreeSettings Auto { get; } = new(12, 8, 63) { Adapts = true };

    /// <summary>Whether the three numbers are limits within which each step chooses, and not what each step drafts.</summary>
    public bool Adapts { get; init; }

    /// <summary>Depth 5, breadth 4, 24 tokens.</summary>
    public static TreeSettings Default { get; } = new(5, 4, 24);

    /// <summary>Parses "auto", "depth,breadth,total", "depthxbreadthxtotal" or "off" (null).</summary>
    /// <exception cref="InputException">Anything else, or a number out of range.</exception>
    public static TreeSettings? Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        if (text.Equals("off", StringComparison.OrdinalIgnoreCase))
        {
            return null;
        }

        if (text.Equals("auto", StringComparison.OrdinalIgnoreCase))
        {
            return Auto;
        }

        string[] parts = text.Split([',', 'x'], StringSplitOptions.TrimEntries);
        if (parts.Length != 3 || !int.TryParse(parts[0], out int depth) || !int.TryParse(parts[1], out int breadth) || !int.TryParse(parts[2], out int total))
        {
            throw new InputException($"--tree: found '{text}', expected auto, depth,breadth,total (e.g. 5,4,24 or 5x4x24) or off");
        }

        TreeSettings settings = new(depth, breadth, total);
        settings.Validate();
        return settings;
    }

    /// <summary>Checks the ranges.</summary>
    /// <exception cref="InputException">A number is out of range; the message names it.</exception>
    public void Validate()
    {
        Check(Depth, 2, 32, "depth");
        Check(Breadth, 1, 32, "breadth");
        Check(TotalTokens, 1, 63, "total tokens");

        static void Check(int value, int low, int high, string name)
        {
            if (value < low || value > high)
            {
                throw new InputException($"tree {name}: found {value}, expected {low} to {high}");
            }
        }
    }
}

using System.Runtime.InteropServices;

namespace LowLevelSpec.Models;

/// <summary>What happens to the matches of a split pattern, in Hugging Face's names.</summary>
internal enum SplitBehavior
{
    /// <summary>Matches are dropped.</summary>
    Removed,

    /// <summary>Each match stands alone.</summary>
    Isolated,

    /// <summary>A match is appended to what comes before it.</summary>
    MergedWithPrevious,

    /// <summary>A match is put in front of what comes after it.</summary>
    MergedWithNext,

    /// <summary>Neighbouring matches stand together.</summary>
    Contiguous,
}

/// <summary>Finds the matches of a split pattern.</summary>
internal interface ISplitPattern
{
    /// <summary>Appends the matches in a text, in order.</summary>
    void FindMatches(ReadOnlySpan<char> text, List<Range> matches);
}

/// <summary>Cuts text along the matches of a pattern.</summary>
internal sealed class SplitStep(ISplitPattern pattern, SplitBehavior behavior, bool invert) : PreTokenStep
{
    public override void Split(ReadOnlySpan<char> text, in PreTokenRest rest)
    {
        var matches = new List<Range>();
        pattern.FindMatches(text, matches);
        var parts = new List<Part>(matches.Count * 2 + 1);
        var end = 0;
        foreach (var match in matches)
        {
            if (match.Start.Value > end)
            {
                parts.Add(new Part(end, match.Start.Value, invert));
            }

            parts.Add(new Part(match.Start.Value, match.End.Value, !invert));
            end = match.End.Value;
        }

        if (end < text.Length)
        {
            parts.Add(new Part(end, text.Length, invert));
        }

        foreach (var part in CollectionsMarshal.AsSpan(Arrange(parts)))
        {
            if (!(part.IsMatch && behavior == SplitBehavior.Removed))
            {
                rest.Add(text[part.Start..part.End]);
            }
        }
    }

    private List<Part> Arrange(List<Part> parts) => behavior switch
    {
        SplitBehavior.Contiguous => Join(parts, (last, part) => last.IsMatch == part.IsMatch),
        SplitBehavior.MergedWithPrevious => Join(parts, (last, part) => part.IsMatch && !last.IsMatch),
        SplitBehavior.MergedWithNext => Join(parts, (last, part) => last.IsMatch && !part.IsMatch),
        _ => parts,
    };

    private static List<Part> Join(List<Part> parts, Func<Part, Part, bool> joins)
    {
        var joined = new List<Part>(parts.Count);
        var last = default(Part);
        foreach (var part in parts)
        {
            if (joined.Count > 0 && joins(last, part))
            {
                joined[^1] = joined[^1] with { End = part.End };
            }
            else
            {
                joined.Add(part);
            }

            last = part;
        }

        return joined;
    }

    private readonly record struct Part(int Start, int End, bool IsMatch);
}

/// <summary>A split pattern that is a plain text.</summary>
internal sealed class TextPattern(string pattern) : ISplitPattern
{
    public void FindMatches(ReadOnlySpan<char> text, List<Range> matches)
    {
        for (var at = 0; pattern.Length > 0;)
        {
            var found = text[at..].IndexOf(pattern, StringComparison.Ordinal);
            if (found < 0)
            {
                return;
            }

            matches.Add((at + found)..(at + found + pattern.Length));
            at += found + pattern.Length;
        }
    }
}

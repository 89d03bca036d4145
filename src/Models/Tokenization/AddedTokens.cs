using System.Runtime.InteropServices;
using System.Text;

namespace LowLevelSpec.Models;

/// <summary>A token that is found in the text before the vocabulary is applied.</summary>
internal sealed record AddedToken(int Id, string Content, bool Special)
{
    /// <summary>Takes the white space before it.</summary>
    public bool StripsLeft { get; init; }

    /// <summary>Takes the white space after it.</summary>
    public bool StripsRight { get; init; }

    /// <summary>Is looked for in normalized text.</summary>
    public bool Normalized { get; init; }

    /// <summary>Counts only where no word character touches it.</summary>
    public bool SingleWord { get; init; }
}

/// <summary>Which parts of a text came from outside and so cannot hold control tokens: sorted, disjoint [start, end) pairs.</summary>
internal readonly struct OutsideText(int[]? bounds)
{
    /// <summary>Whether [start, end) touches text from outside.</summary>
    public bool Touches(int start, int end)
    {
        if (bounds is null)
        {
            return false;
        }

        // The first bound above start; an odd index means that start lies within a pair.
        var at = Array.BinarySearch(bounds, start);
        at = at >= 0 ? at + 1 : ~at;
        return (at & 1) == 1 || (at < bounds.Length && bounds[at] < end);
    }
}

/// <summary>
/// Finds added tokens in text as Hugging Face tokenizers do: the leftmost first, the longest of those that start there.
/// </summary>
internal sealed class AddedTokenMatcher
{
    private readonly Dictionary<(int Node, char Next), int> _edges = [];
    private readonly List<AddedToken?> _ends = [null];
    private readonly char[] _firstChars;

    public AddedTokenMatcher(IEnumerable<AddedToken> tokens, Func<string, string> spelling)
    {
        var first = new HashSet<char>();
        foreach (var token in tokens)
        {
            var content = spelling(token.Content);
            first.Add(content[0]);
            var node = 0;
            foreach (var c in content)
            {
                ref var target = ref CollectionsMarshal.GetValueRefOrAddDefault(_edges, (node, c), out var exists);
                if (!exists)
                {
                    target = _ends.Count;
                    _ends.Add(null);
                }

                node = target;
            }

            _ends[node] ??= token;
        }

        _firstChars = [.. first];
    }

    /// <summary>Whether there is nothing to find.</summary>
    public bool IsEmpty => _firstChars.Length == 0;

    /// <summary>
    /// The next token at or after <paramref name="from"/>, or null. Control tokens that touch text from outside are not seen.
    /// </summary>
    public AddedToken? Next(ReadOnlySpan<char> text, int from, OutsideText outside, out int start, out int end)
    {
        for (start = from; start < text.Length; start++)
        {
            var skip = text[start..].IndexOfAny(_firstChars);
            if (skip < 0)
            {
                break;
            }

            start += skip;
            AddedToken? longest = null;
            end = start;
            var node = 0;
            for (var i = start; i < text.Length && _edges.TryGetValue((node, text[i]), out node); i++)
            {
                if (_ends[node] is { } token && !(token.Special && outside.Touches(start, i + 1)))
                {
                    longest = token;
                    end = i + 1;
                }
            }

            if (longest is not null)
            {
                return longest;
            }
        }

        start = end = text.Length;
        return null;
    }

    /// <summary>Whether no word character touches the token.</summary>
    public static bool StandsAlone(ReadOnlySpan<char> text, int start, int end)
        => !(start > 0 && Rune.DecodeLastFromUtf16(text[..start], out var before, out _) == System.Buffers.OperationStatus.Done
             && CharClasses.IsWord(before))
           && !(end < text.Length && Rune.DecodeFromUtf16(text[end..], out var after, out _) == System.Buffers.OperationStatus.Done
             && CharClasses.IsWord(after));
}

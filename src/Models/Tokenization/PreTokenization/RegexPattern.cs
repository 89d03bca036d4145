using System.Globalization;
using System.Text.RegularExpressions;

namespace LowLevelSpec.Models;

/// <summary>
/// A split pattern that is a regular expression from a tokenizer file. .NET matches UTF-16 units, the file's pattern means code
/// points: before matching, each code point outside the BMP is replaced by one BMP character of the same general category that
/// the pattern does not name, and the matches are mapped back.
/// </summary>
internal sealed class RegexPattern : ISplitPattern
{
    private const string Contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";

    // .NET's ignore-case does not fold U+017F (long s) to s; Unicode case folding does.
    private const string FoldedContractions = "(?:'[sS\u017F]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";

    // Patterns come from files: one that backtracks without end must fail, not hang.
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(10);

    private readonly Regex _regex;
    private readonly char[] _standIns;

    /// <summary>Compiles a pattern.</summary>
    /// <exception cref="ArgumentException">The pattern is not one .NET can match in the same way.</exception>
    public RegexPattern(string pattern)
    {
        foreach (var c in pattern)
        {
            if (char.IsSurrogate(c))
            {
                throw new ArgumentException("it names characters beyond U+FFFF");
            }
        }

        _regex = new Regex(pattern.Replace(Contractions, FoldedContractions, StringComparison.Ordinal), RegexOptions.CultureInvariant, Timeout);
        _standIns = ChooseStandIns(pattern);
    }

    /// <inheritdoc/>
    public void FindMatches(ReadOnlySpan<char> text, List<Range> matches)
    {
        try
        {
            Find(text, matches);
        }
        catch (RegexMatchTimeoutException e)
        {
            throw new InputException($"the tokenizer's pattern '{_regex}' takes longer than {Timeout.TotalSeconds:0} s on this text; shorten the text or use another model", e);
        }
    }

    private void Find(ReadOnlySpan<char> text, List<Range> matches)
    {
        if (text.IndexOfAnyInRange('\uD800', '\uDFFF') < 0)
        {
            foreach (var match in _regex.EnumerateMatches(text))
            {
                matches.Add(match.Index..(match.Index + match.Length));
            }

            return;
        }

        var flat = new char[text.Length];
        var offsets = new int[text.Length + 1];
        var count = 0;
        for (var at = 0; at < text.Length; count++)
        {
            offsets[count] = at;
            var pair = char.IsHighSurrogate(text[at]) && at + 1 < text.Length && char.IsLowSurrogate(text[at + 1]);
            flat[count] = pair ? _standIns[(int)CharUnicodeInfo.GetUnicodeCategory(char.ConvertToUtf32(text[at], text[at + 1]))] : text[at];
            at += pair ? 2 : 1;
        }

        offsets[count] = text.Length;
        foreach (var match in _regex.EnumerateMatches(flat.AsSpan(0, count)))
        {
            matches.Add(offsets[match.Index]..offsets[match.Index + match.Length]);
        }
    }

    private static char[] ChooseStandIns(string pattern)
    {
        var named = NamedCharacters(pattern);
        var standIns = new char[(int)UnicodeCategory.OtherNotAssigned + 1];
        for (var c = 0xFFFF; c > 0x7F; c--)
        {
            var category = (int)CharUnicodeInfo.GetUnicodeCategory((char)c);
            if (standIns[category] == 0 && !named[c])
            {
                standIns[category] = (char)c;
            }
        }

        return standIns;
    }

    // Every character written in the pattern, and everything between two of them that a dash joins: more than a character class
    // may mean, never less.
    private static bool[] NamedCharacters(string pattern)
    {
        var literals = new List<char>();
        for (var i = 0; i < pattern.Length; i++)
        {
            if (pattern[i] == '\\' && i + 1 < pattern.Length)
            {
                var digits = pattern[i + 1] switch { 'u' => 4, 'x' => 2, _ => 0 };
                if (digits > 0 && i + 2 + digits <= pattern.Length
                    && ushort.TryParse(pattern.AsSpan(i + 2, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var value))
                {
                    literals.Add((char)value);
                    i += 1 + digits;
                    continue;
                }
            }

            literals.Add(pattern[i]);
        }

        var named = new bool[0x10000];
        for (var i = 0; i < literals.Count; i++)
        {
            var last = i + 2 < literals.Count && literals[i + 1] == '-' ? literals[i + 2] : literals[i];
            for (int c = literals[i]; c <= Math.Max(literals[i], last); c++)
            {
                named[c] = true;
            }
        }

        return named;
    }
}

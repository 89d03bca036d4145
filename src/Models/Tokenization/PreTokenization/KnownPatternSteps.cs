namespace LowLevelSpec.Models;

/// <summary>
/// GPT-2's pattern <c>'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+</c>, written out: linear in the
/// text and right for code points outside the BMP. Every code point belongs to a match.
/// </summary>
internal sealed class Gpt2Step : PreTokenStep
{
    public const string Pattern = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    public override void Split(ReadOnlySpan<char> text, in PreTokenRest rest)
    {
        for (var at = 0; at < text.Length;)
        {
            var end = End(text, at);
            rest.Add(text[at..end]);
            at = end;
        }
    }

    private static int End(ReadOnlySpan<char> text, int at)
    {
        var contraction = Contraction(text[at..]);
        if (contraction > 0)
        {
            return at + contraction;
        }

        var word = text[at] == ' ' ? at + 1 : at;
        if (word < text.Length)
        {
            var run = CharClasses.At(text, word, out _);
            if (run != CharClass.Space)
            {
                return CharClasses.RunEnd(text, word, run);
            }
        }

        return SpaceEnd(text, at, CharClasses.RunEnd(text, at, CharClass.Space));
    }

    /// <summary>
    /// The end of <c>\s+(?!\S)|\s+</c> on the white space from <paramref name="at"/> to <paramref name="runEnd"/>: before a word the
    /// last space stays with the word, unless it is the only one.
    /// </summary>
    internal static int SpaceEnd(ReadOnlySpan<char> text, int at, int runEnd)
        => runEnd == text.Length || runEnd - at == 1 ? runEnd : runEnd - 1;

    private static int Contraction(ReadOnlySpan<char> text) => text switch
    {
        ['\'', 's' or 't' or 'm' or 'd', ..] => 2,
        ['\'', 'r' or 'v', 'e', ..] or ['\'', 'l', 'l', ..] => 3,
        _ => 0,
    };
}

/// <summary>
/// The pattern that Llama 3 (up to three digits together) and Qwen 2 (one digit) share, written out:
/// <c>(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+</c>.
/// Every code point belongs to a match.
/// </summary>
internal sealed class Cl100kStep(int digits) : PreTokenStep
{
    private const string Before = @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}";
    private const string After = @"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    /// <summary>The step for a pattern, or null if it is another one.</summary>
    public static Cl100kStep? TryCreate(string pattern)
    {
        if (!pattern.StartsWith(Before, StringComparison.Ordinal) || !pattern.EndsWith(After, StringComparison.Ordinal)
            || pattern.Length < Before.Length + After.Length)
        {
            return null;
        }

        return pattern[Before.Length..^After.Length] switch
        {
            "" => new Cl100kStep(1),
            "{1,2}" => new Cl100kStep(2),
            "{1,3}" => new Cl100kStep(3),
            _ => null,
        };
    }

    public override void Split(ReadOnlySpan<char> text, in PreTokenRest rest)
    {
        for (var at = 0; at < text.Length;)
        {
            var end = End(text, at);
            rest.Add(text[at..end]);
            at = end;
        }
    }

    private int End(ReadOnlySpan<char> text, int at)
    {
        var contraction = Contraction(text[at..]);
        if (contraction > 0)
        {
            return at + contraction;
        }

        var first = CharClasses.At(text, at, out var length);
        if (first == CharClass.Letter)
        {
            return CharClasses.RunEnd(text, at, CharClass.Letter);
        }

        if (first == CharClass.Number)
        {
            var end = at + length;
            for (var taken = 1; taken < digits && end < text.Length && CharClasses.At(text, end, out length) == CharClass.Number; taken++)
            {
                end += length;
            }

            return end;
        }

        // One code point that is no line end may lead a word.
        var second = at + length;
        if (text[at] is not ('\r' or '\n') && second < text.Length && CharClasses.At(text, second, out _) == CharClass.Letter)
        {
            return CharClasses.RunEnd(text, second, CharClass.Letter);
        }

        var symbols = text[at] == ' ' ? at + 1 : at;
        if (symbols < text.Length && CharClasses.At(text, symbols, out _) == CharClass.Other)
        {
            var end = CharClasses.RunEnd(text, symbols, CharClass.Other);
            while (end < text.Length && text[end] is ('\r' or '\n'))
            {
                end++;
            }

            return end;
        }

        var runEnd = CharClasses.RunEnd(text, at, CharClass.Space);
        var lineEnd = text[at..runEnd].LastIndexOfAny('\r', '\n');
        return lineEnd >= 0 ? at + lineEnd + 1 : Gpt2Step.SpaceEnd(text, at, runEnd);
    }

    // Case folding makes U+017F (long s) an s.
    private static int Contraction(ReadOnlySpan<char> text) => text switch
    {
        ['\'', 's' or 'S' or 'ſ' or 't' or 'T' or 'm' or 'M' or 'd' or 'D', ..] => 2,
        ['\'', 'r' or 'R' or 'v' or 'V', 'e' or 'E', ..] or ['\'', 'l' or 'L', 'l' or 'L', ..] => 3,
        _ => 0,
    };
}

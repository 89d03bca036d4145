using System.Globalization;
using System.Text;

namespace LowLevelSpec.Models;

/// <summary>The classes of code points that pre-tokenizers tell apart.</summary>
internal enum CharClass : byte
{
    /// <summary>Anything that is none of the others.</summary>
    Other,

    /// <summary>Unicode category L.</summary>
    Letter,

    /// <summary>Unicode category N.</summary>
    Number,

    /// <summary>Property White_Space.</summary>
    Space,
}

/// <summary>Classes of code points, and walking through UTF-16 text by code point.</summary>
internal static class CharClasses
{
    private static readonly CharClass[] Bmp = BuildBmp();

    /// <summary>Class and length in UTF-16 units of the code point at a position.</summary>
    public static CharClass At(ReadOnlySpan<char> text, int at, out int length)
    {
        var c = text[at];
        length = 1;
        if (!char.IsHighSurrogate(c) || at + 1 >= text.Length || !char.IsLowSurrogate(text[at + 1]))
        {
            return Bmp[c];
        }

        length = 2;
        return Classify(CharUnicodeInfo.GetUnicodeCategory(char.ConvertToUtf32(c, text[at + 1])));
    }

    /// <summary>The end of the run of code points of one class that starts at a position.</summary>
    public static int RunEnd(ReadOnlySpan<char> text, int at, CharClass run)
    {
        while (at < text.Length && At(text, at, out var length) == run)
        {
            at += length;
        }

        return at;
    }

    /// <summary>Whether a code point is part of a word as Unicode's recommendation for \w has it.</summary>
    public static bool IsWord(Rune rune) => Rune.GetUnicodeCategory(rune) switch
    {
        <= UnicodeCategory.OtherLetter => true,
        UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark => true,
        UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.ConnectorPunctuation => true,
        _ => rune.Value is 0x200C or 0x200D or (>= 0x24B6 and <= 0x24E9) or (>= 0x1F130 and <= 0x1F149)
            or (>= 0x1F150 and <= 0x1F169) or (>= 0x1F170 and <= 0x1F189),
    };

    private static CharClass[] BuildBmp()
    {
        var classes = new CharClass[0x10000];
        for (var c = 0; c < classes.Length; c++)
        {
            classes[c] = char.IsWhiteSpace((char)c) ? CharClass.Space : Classify(CharUnicodeInfo.GetUnicodeCategory((char)c));
        }

        return classes;
    }

    // White space outside the BMP does not exist.
    private static CharClass Classify(UnicodeCategory category) => category switch
    {
        <= UnicodeCategory.OtherLetter => CharClass.Letter,
        UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber => CharClass.Number,
        _ => CharClass.Other,
    };
}

namespace LowLevelSpec.Models;

/// <summary>
/// GPT-2's byte alphabet: every byte is written as one printable character (printable Latin-1 as itself, the rest from U+0100 on),
/// so that a vocabulary of byte strings fits in a text file.
/// </summary>
internal static class ByteAlphabet
{
    private static readonly char[] ToChar = BuildToChar();
    private static readonly short[] FromChar = BuildFromChar();

    /// <summary>The character that stands for a byte.</summary>
    public static char CharOf(byte value) => ToChar[value];

    /// <summary>The byte a character stands for, or -1.</summary>
    public static int ByteOf(char c) => c < FromChar.Length ? FromChar[c] : -1;

    /// <summary>The bytes an alphabet text stands for; null if a character is outside the alphabet.</summary>
    public static byte[]? Decode(ReadOnlySpan<char> text)
    {
        var bytes = new byte[text.Length];
        for (var i = 0; i < text.Length; i++)
        {
            var value = ByteOf(text[i]);
            if (value < 0)
            {
                return null;
            }

            bytes[i] = (byte)value;
        }

        return bytes;
    }

    private static char[] BuildToChar()
    {
        var map = new char[256];
        var next = 256;
        for (var b = 0; b < 256; b++)
        {
            var printable = b is (>= 33 and <= 126) or (>= 161 and <= 172) or (>= 174 and <= 255);
            map[b] = printable ? (char)b : (char)next++;
        }

        return map;
    }

    private static short[] BuildFromChar()
    {
        var map = new short[ToChar.Max() + 1];
        Array.Fill(map, (short)-1);
        for (var b = 0; b < 256; b++)
        {
            map[ToChar[b]] = (short)b;
        }

        return map;
    }
}

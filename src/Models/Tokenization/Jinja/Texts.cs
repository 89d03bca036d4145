using System.Buffers;
using System.Globalization;

namespace LowLevelSpec.Models.Jinja;

/// <summary>Python's string functions on texts that remember where they come from.</summary>
internal static class Texts
{
    private static readonly SearchValues<char> LineEnds = SearchValues.Create("\n\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029");

    // Python counts four control characters as white space that Unicode does not.
    public static bool IsSpace(char c) => char.IsWhiteSpace(c) || c is >= '\x1c' and <= '\x1f';

    public static TemplateText Strip(TemplateText text, TemplateText? characters, bool left, bool right)
    {
        var value = text.Value;
        var set = characters?.Characters().Select(c => c.Value).ToHashSet();
        var start = 0;
        var end = value.Length;
        while (left && start < end && Strips(start, text.RuneLength(start)))
        {
            start += text.RuneLength(start);
        }

        while (right && end > start)
        {
            var length = end - start > 1 && char.IsSurrogatePair(value[end - 2], value[end - 1]) ? 2 : 1;
            if (!Strips(end - length, length))
            {
                break;
            }

            end -= length;
        }

        return text.Substring(start, end - start);

        bool Strips(int at, int length) => set is null ? IsSpace(value[at]) : set.Contains(value.Substring(at, length));
    }

    public static List<object?> Split(Budget budget, TemplateText text, TemplateText? separator, long limit, bool fromRight, int line)
    {
        var parts = new List<object?>();
        var value = text.Value;
        limit = limit < 0 ? long.MaxValue : limit;
        if (separator is { Value.Length: 0 })
        {
            throw new TemplateException(line, "the separator is empty");
        }

        if (separator is null)
        {
            Words(text, limit, fromRight, parts);
        }
        else if (fromRight)
        {
            var end = value.Length;
            for (int at; parts.Count < limit && (at = value.AsSpan(0, end).LastIndexOf(separator.Value)) >= 0; end = at)
            {
                parts.Add(text.Substring(at + separator.Value.Length, end - at - separator.Value.Length));
            }

            parts.Add(text.Substring(0, end));
            parts.Reverse();
        }
        else
        {
            var start = 0;
            for (int at; parts.Count < limit && (at = value.IndexOf(separator.Value, start, StringComparison.Ordinal)) >= 0; start = at + separator.Value.Length)
            {
                parts.Add(text.Substring(start, at - start));
            }

            parts.Add(text.Substring(start, value.Length - start));
        }

        budget.ChargeItems(parts.Count);
        return parts;
    }

    public static List<object?> Lines(TemplateText text, bool keepEnds)
    {
        var lines = new List<object?>();
        var value = text.Value;
        for (var start = 0; start < value.Length;)
        {
            var end = value.AsSpan(start).IndexOfAny(LineEnds);
            if (end < 0)
            {
                lines.Add(text.Substring(start, value.Length - start));
                break;
            }

            end += start;
            var next = value[end] == '\r' && end + 1 < value.Length && value[end + 1] == '\n' ? end + 2 : end + 1;
            lines.Add(text.Substring(start, (keepEnds ? next : end) - start));
            start = next;
        }

        return lines;
    }

    public static TemplateText Replace(Budget budget, TemplateText text, TemplateText old, TemplateText replacement, long limit)
    {
        limit = limit < 0 ? long.MaxValue : limit;
        var builder = new TextBuilder(budget);
        if (old.Value.Length == 0)
        {
            // Between all characters and at both ends.
            foreach (var c in text.Characters())
            {
                builder.Append(limit-- > 0 ? replacement : TemplateText.Empty).Append(c);
            }

            return builder.Append(limit > 0 ? replacement : TemplateText.Empty).ToText();
        }

        var start = 0;
        for (int at; limit-- > 0 && (at = text.Value.IndexOf(old.Value, start, StringComparison.Ordinal)) >= 0; start = at + old.Value.Length)
        {
            builder.Append(text.Substring(start, at - start)).Append(replacement);
        }

        return start == 0 ? text : builder.Append(text.Substring(start, text.Value.Length - start)).ToText();
    }

    public static int Count(string text, string part)
    {
        if (part.Length == 0)
        {
            return TemplateText.Own(text).Length + 1;
        }

        var count = 0;
        for (var at = 0; (at = text.IndexOf(part, at, StringComparison.Ordinal)) >= 0; at += part.Length)
        {
            count++;
        }

        return count;
    }

    /// <summary>Whether a text has letters of one case and none of the other.</summary>
    public static bool IsCased(string text, Func<char, bool> has, Func<char, bool> lacks) => text.Any(has) && !text.Any(lacks);

    public static string Capitalize(string text)
        => text.Length == 0 ? text : text[..1].ToUpperInvariant() + text[1..].ToLowerInvariant();

    /// <summary>Python's str.title: a capital after anything that is no letter.</summary>
    public static string Title(string text) => string.Create(text.Length, text, (output, source) =>
    {
        for (var i = 0; i < source.Length; i++)
        {
            output[i] = i > 0 && char.IsLetter(source[i - 1]) ? char.ToLowerInvariant(source[i]) : char.ToUpperInvariant(source[i]);
        }
    });

    /// <summary>Jinja's title filter: a capital after white space, dashes and opening brackets.</summary>
    public static string TitleFilter(string text) => string.Create(text.Length, text, (output, source) =>
    {
        for (var i = 0; i < source.Length; i++)
        {
            var starts = i == 0 || IsSpace(source[i - 1]) || source[i - 1] is '-' or '(' or '{' or '[' or '<';
            output[i] = starts ? char.ToUpperInvariant(source[i]) : char.ToLowerInvariant(source[i]);
        }
    });

    /// <summary>An integer as Python's int() reads it.</summary>
    public static bool TryInteger(string text, int radix, out long value)
    {
        text = text.Trim().Replace("_", "", StringComparison.Ordinal);
        if (radix == 10)
        {
            return long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out value);
        }

        var digits = radix switch { 16 when text.StartsWith("0x", StringComparison.OrdinalIgnoreCase) => text[2..], _ => text };
        value = 0;
        return radix == 16 && long.TryParse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
    }

    private static void Words(TemplateText text, long limit, bool fromRight, List<object?> parts)
    {
        var words = new List<(int Start, int End)>();
        var value = text.Value;
        for (var at = 0; at < value.Length;)
        {
            if (IsSpace(value[at]))
            {
                at++;
                continue;
            }

            var start = at;
            while (at < value.Length && !IsSpace(value[at]))
            {
                at++;
            }

            words.Add((start, at));
        }

        // Beyond the limit the rest stays in one piece, white space inside it included.
        if (words.Count > limit + (limit == long.MaxValue ? 0 : 1))
        {
            if (fromRight)
            {
                var kept = words.Count - (int)limit;
                words[kept - 1] = (0, words[kept - 1].End);
                words.RemoveRange(0, kept - 1);
            }
            else
            {
                words[(int)limit] = (words[(int)limit].Start, value.Length);
                words.RemoveRange((int)limit + 1, words.Count - (int)limit - 1);
            }
        }

        parts.AddRange(words.Select(w => (object?)text.Substring(w.Start, w.End - w.Start)));
    }
}

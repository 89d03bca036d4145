using System.Buffers;
using System.Text;

namespace LowLevelSpec.Models;

/// <summary>
/// Unicode normalization form C. The runtime's own <see cref="string.Normalize()"/> does nothing in globalization-invariant mode,
/// and a tokenizer must give the same ids in every mode.
/// </summary>
internal static class NfcNormalizer
{
    private const int HangulBase = 0xAC00, LeadBase = 0x1100, VowelBase = 0x1161, TailBase = 0x11A7;
    private const int LeadCount = 19, VowelCount = 21, TailCount = 28, HangulCount = LeadCount * VowelCount * TailCount;

    // Below U+0300 nothing combines and everything is its own form C.
    private const char FirstAffected = '\u0300';

    private static readonly Lazy<Tables> Data = new(Unpack);

    /// <summary>The text in form C; the same object if it is so already. The text has no lone surrogates.</summary>
    public static string Normalize(string text)
    {
        var affected = text.AsSpan().IndexOfAnyInRange(FirstAffected, '\uFFFF');
        if (affected < 0)
        {
            return text;
        }

        // The code point before the first affected one may compose with it.
        var start = Math.Max(0, affected - 1);
        var tables = Data.Value;
        var points = new List<long>(text.Length - start + 8);
        foreach (var rune in text.AsSpan(start).EnumerateRunes())
        {
            Decompose(tables, rune.Value, points);
        }

        Order(points);
        var result = new StringBuilder(text.Length).Append(text, 0, start);
        Compose(tables, points, result);
        return result.Equals(text) ? text : result.ToString();
    }

    // A point carries its combining class above bit 32.
    private static void Decompose(Tables tables, int point, List<long> output)
    {
        var syllable = point - HangulBase;
        if ((uint)syllable < HangulCount)
        {
            output.Add(LeadBase + syllable / (VowelCount * TailCount));
            output.Add(VowelBase + syllable % (VowelCount * TailCount) / TailCount);
            if (syllable % TailCount > 0)
            {
                output.Add(TailBase + syllable % TailCount);
            }
        }
        else if (point >= 0xC0 && tables.Decompositions.TryGetValue(point, out var parts))
        {
            Decompose(tables, parts.First, output);
            if (parts.Second != 0)
            {
                Decompose(tables, parts.Second, output);
            }
        }
        else
        {
            output.Add(((long)tables.Classes.GetValueOrDefault(point) << 32) | (uint)point);
        }
    }

    // Runs of marks are sorted by class, equal classes staying in order.
    private static void Order(List<long> points)
    {
        for (var i = 0; i < points.Count; i++)
        {
            if (points[i] >> 32 == 0)
            {
                continue;
            }

            var end = i + 1;
            var sorted = true;
            for (; end < points.Count && points[end] >> 32 != 0; end++)
            {
                sorted &= points[end - 1] >> 32 <= points[end] >> 32;
            }

            if (!sorted)
            {
                var run = points.GetRange(i, end - i).OrderBy(p => p >> 32).ToArray();
                for (var k = 0; k < run.Length; k++)
                {
                    points[i + k] = run[k];
                }
            }

            i = end;
        }
    }

    private static void Compose(Tables tables, List<long> points, StringBuilder result)
    {
        var composed = ArrayPool<int>.Shared.Rent(points.Count);
        var count = 0;
        var starter = -1;
        var lastClass = -1;
        foreach (var packed in points)
        {
            var point = (int)packed;
            var mark = (int)(packed >> 32);

            // A point is blocked from its starter by anything in between of an equal or higher class, or by another starter.
            if (starter >= 0 && lastClass < mark && Pair(tables, composed[starter], point) is var pair and > 0)
            {
                composed[starter] = pair;
                continue;
            }

            if (mark == 0)
            {
                starter = count;
                lastClass = -1;
            }
            else
            {
                lastClass = mark;
            }

            composed[count++] = point;
        }

        Span<char> units = stackalloc char[2];
        foreach (var point in composed.AsSpan(0, count))
        {
            result.Append(units[..new Rune(point).EncodeToUtf16(units)]);
        }

        ArrayPool<int>.Shared.Return(composed);
    }

    private static int Pair(Tables tables, int first, int second)
    {
        var lead = first - LeadBase;
        var vowel = second - VowelBase;
        if ((uint)lead < LeadCount && (uint)vowel < VowelCount)
        {
            return HangulBase + (lead * VowelCount + vowel) * TailCount;
        }

        var syllable = first - HangulBase;
        var tail = second - TailBase;
        if ((uint)syllable < HangulCount && syllable % TailCount == 0 && tail is > 0 and < TailCount)
        {
            return first + tail;
        }

        return tables.Compositions.GetValueOrDefault((first, second));
    }

    private static Tables Unpack()
    {
        var tables = new Tables([], [], []);
        var reader = new Numbers(Convert.FromBase64String(NfcTable.Decompositions));
        for (var point = 0; !reader.AtEnd;)
        {
            point += reader.Next();
            var first = reader.Next();
            var second = reader.Next();
            tables.Decompositions.Add(point, (first >> 1, second));
            if ((first & 1) == 1)
            {
                tables.Compositions.Add((first >> 1, second), point);
            }
        }

        reader = new Numbers(Convert.FromBase64String(NfcTable.Classes));
        for (var point = 0; !reader.AtEnd;)
        {
            point += reader.Next();
            var end = point + reader.Next();
            var value = (byte)reader.Next();
            for (; point < end; point++)
            {
                tables.Classes.Add(point, value);
            }
        }

        return tables;
    }

    private sealed record Tables(
        Dictionary<int, (int First, int Second)> Decompositions,
        Dictionary<(int First, int Second), int> Compositions,
        Dictionary<int, byte> Classes);

    private struct Numbers(byte[] data)
    {
        private int _at;

        public readonly bool AtEnd => _at == data.Length;

        public int Next()
        {
            var value = 0;
            for (var shift = 0; ; shift += 7)
            {
                var b = data[_at++];
                value |= (b & 0x7F) << shift;
                if (b < 0x80)
                {
                    return value;
                }
            }
        }
    }
}

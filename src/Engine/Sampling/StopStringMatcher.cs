using System.Text;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Sampling;

/// <summary>
/// Finds stop strings in text that arrives in pieces. It holds back a tail that could be the beginning of a stop string, so nothing that
/// belongs to one is ever given out. The match is the one that completes first; where several complete at the same character, the one that
/// starts first. The text ends right before its start. Comparison is ordinal.
/// </summary>
internal sealed class StopStringMatcher
{
    private readonly string[] _stops;

    // Knuth-Morris-Pratt: [s][n] = length of the longest proper border of the first n characters of stop string s.
    private readonly int[][] _borders;

    // [s] = length of the longest prefix of stop string s that the text so far ends in.
    private readonly int[] _states;

    private readonly StringBuilder _held = new();
    private bool _flushed;

    /// <summary>Creates a matcher for one text.</summary>
    /// <param name="stops">Stop strings; none = everything passes at once.</param>
    /// <exception cref="InputException">A stop string is unusable; see <see cref="Validate"/>.</exception>
    public StopStringMatcher(IReadOnlyList<string> stops)
    {
        Validate(stops);
        _stops = [.. stops];
        _borders = [.. stops.Select(Borders)];
        _states = new int[_stops.Length];
    }

    /// <summary>Whether a stop string was found: the text is over.</summary>
    public bool Matched { get; private set; }

    /// <summary>Refuses stop strings that are empty or contain half a surrogate pair (they would cut a character in two).</summary>
    /// <exception cref="InputException">The message says which one.</exception>
    public static void Validate(IReadOnlyList<string> stops)
    {
        ArgumentNullException.ThrowIfNull(stops);
        for (int i = 0; i < stops.Count; i++)
        {
            if (string.IsNullOrEmpty(stops[i]))
            {
                throw new InputException($"Stop string {i + 1} of {stops.Count} is empty; it must have at least one character. Leave it out to stop nowhere.");
            }

            if (!IsWellFormed(stops[i]))
            {
                throw new InputException($"Stop string {i + 1} of {stops.Count} contains half a surrogate pair; it must be well-formed Unicode text.");
            }
        }
    }

    /// <summary>Takes the next piece and returns the text that may be given out now. After a match everything that follows is dropped.</summary>
    /// <exception cref="InvalidOperationException">The text was ended by <see cref="Flush"/>.</exception>
    public string Push(string piece)
    {
        ArgumentNullException.ThrowIfNull(piece);
        if (_flushed)
        {
            throw new InvalidOperationException("The text has ended: Push after Flush.");
        }

        if (Matched)
        {
            return "";
        }

        if (_stops.Length == 0)
        {
            return piece;
        }

        foreach (char c in piece)
        {
            _held.Append(c);
            int match = Advance(c);
            if (match > 0)
            {
                Matched = true;
                string before = _held.ToString(0, _held.Length - match);
                _held.Clear();
                return before;
            }
        }

        int free = _held.Length - _states.Max();
        string text = _held.ToString(0, free);
        _held.Remove(0, free);
        return text;
    }

    /// <summary>Ends the text and returns what was held back; "" after a match.</summary>
    public string Flush()
    {
        _flushed = true;
        string text = _held.ToString();
        _held.Clear();
        return text;
    }

    private static bool IsWellFormed(string text)
    {
        for (int i = 0; i < text.Length; i++)
        {
            if (char.IsHighSurrogate(text[i]) && i + 1 < text.Length && char.IsLowSurrogate(text[i + 1]))
            {
                i++;
            }
            else if (char.IsSurrogate(text[i]))
            {
                return false;
            }
        }

        return true;
    }

    private static int[] Borders(string stop)
    {
        int[] borders = new int[stop.Length + 1];
        int border = 0;
        for (int n = 2; n <= stop.Length; n++)
        {
            border = Next(stop, borders, border, stop[n - 1]);
            borders[n] = border;
        }

        return borders;
    }

    /// <summary>The longest prefix that ends the text once <paramref name="c"/> follows a text that ended in the first <paramref name="state"/> characters.</summary>
    private static int Next(string stop, int[] borders, int state, char c)
    {
        while (state > 0 && stop[state] != c)
        {
            state = borders[state];
        }

        return stop[state] == c ? state + 1 : 0;
    }

    /// <summary>Takes one character; the length of the longest stop string it completes, 0 = none.</summary>
    private int Advance(char c)
    {
        int longest = 0;
        for (int s = 0; s < _stops.Length; s++)
        {
            _states[s] = Next(_stops[s], _borders[s], _states[s], c);
            if (_states[s] == _stops[s].Length)
            {
                longest = Math.Max(longest, _stops[s].Length);
            }
        }

        return longest;
    }
}

using System.Text;

namespace LowLevelSpec.Models.Jinja;

/// <summary>
/// A string of the template language that remembers which of its characters came from outside (the conversation) rather than from
/// the template. Control tokens are recognised only in the template's own characters, whatever the template did with the rest.
/// </summary>
internal sealed class TemplateText : IEquatable<TemplateText>
{
    public static readonly TemplateText Empty = new("", null);

    private int _length = -1;

    /// <param name="value">The characters.</param>
    /// <param name="outside">Sorted, disjoint [start, end) pairs of UTF-16 positions that came from outside; null for none.</param>
    public TemplateText(string value, int[]? outside)
    {
        Value = value;
        Outside = outside is { Length: > 0 } ? outside : null;
    }

    /// <summary>The characters.</summary>
    public string Value { get; }

    /// <summary>Sorted, disjoint [start, end) pairs of positions that came from outside; null for none.</summary>
    public int[]? Outside { get; }

    /// <summary>Length in code points, as templates count.</summary>
    public int Length
    {
        get
        {
            if (_length < 0)
            {
                var pairs = 0;
                for (var i = 1; i < Value.Length; i++)
                {
                    if (char.IsSurrogatePair(Value[i - 1], Value[i]))
                    {
                        pairs++;
                    }
                }

                _length = Value.Length - pairs;
            }

            return _length;
        }
    }

    /// <summary>Text of the template.</summary>
    public static TemplateText Own(string value) => value.Length == 0 ? Empty : new TemplateText(value, null);

    /// <summary>Text from outside.</summary>
    public static TemplateText FromOutside(string value) => value.Length == 0 ? Empty : new TemplateText(value, [0, value.Length]);

    /// <summary>A text made from this one, character by character or in a way that cannot be followed.</summary>
    public TemplateText Derive(string value)
        => Outside is null ? Own(value) : value.Length == Value.Length ? new TemplateText(value, Outside) : FromOutside(value);

    /// <summary>A text made from this one in a way that cannot be followed: all of it counts as from outside if any of this does.</summary>
    public TemplateText DeriveWhole(string value) => Outside is null ? Own(value) : FromOutside(value);

    /// <summary>Part of the text, in UTF-16 positions.</summary>
    public TemplateText Substring(int start, int length)
    {
        if (length == Value.Length)
        {
            return this;
        }

        if (length == 0)
        {
            return Empty;
        }

        List<int>? bounds = null;
        for (var i = 0; Outside is not null && i < Outside.Length; i += 2)
        {
            var from = Math.Max(Outside[i], start);
            var to = Math.Min(Outside[i + 1], start + length);
            if (from < to)
            {
                (bounds ??= []).AddRange([from - start, to - start]);
            }
        }

        return new TemplateText(Value.Substring(start, length), bounds?.ToArray());
    }

    /// <summary>The UTF-16 position of a code point.</summary>
    public int Position(int codePoint)
    {
        if (Length == Value.Length)
        {
            return codePoint;
        }

        var at = 0;
        for (; codePoint > 0; codePoint--)
        {
            at += RuneLength(at);
        }

        return at;
    }

    /// <summary>The UTF-16 length of the code point at a position.</summary>
    public int RuneLength(int at) => at + 1 < Value.Length && char.IsSurrogatePair(Value[at], Value[at + 1]) ? 2 : 1;

    /// <summary>Each code point as a text.</summary>
    public IEnumerable<TemplateText> Characters()
    {
        for (var at = 0; at < Value.Length; at += RuneLength(at))
        {
            yield return Substring(at, RuneLength(at));
        }
    }

    public bool Equals(TemplateText? other) => other is not null && Value == other.Value;

    public override bool Equals(object? obj) => Equals(obj as TemplateText);

    public override int GetHashCode() => Value.GetHashCode(StringComparison.Ordinal);

    public override string ToString() => Value;
}

/// <summary>Joins texts. Every character is charged to the run's budget.</summary>
internal sealed class TextBuilder(Budget budget)
{
    private readonly StringBuilder _value = new();
    private readonly List<int> _outside = [];

    /// <summary>UTF-16 units so far.</summary>
    public int Length => _value.Length;

    public TextBuilder Append(TemplateText text)
    {
        var offset = _value.Length;
        Append(text.Value);
        for (var i = 0; text.Outside is not null && i < text.Outside.Length; i += 2)
        {
            if (_outside.Count > 0 && _outside[^1] == offset + text.Outside[i])
            {
                _outside[^1] = offset + text.Outside[i + 1];
            }
            else
            {
                _outside.Add(offset + text.Outside[i]);
                _outside.Add(offset + text.Outside[i + 1]);
            }
        }

        return this;
    }

    public TextBuilder Append(string own)
    {
        budget.Charge(1 + own.Length);
        _value.Append(own);
        return this;
    }

    public TemplateText ToText() => _value.Length == 0 ? TemplateText.Empty : new TemplateText(_value.ToString(), [.. _outside]);
}

/// <summary>How much work a template may still do. Templates come with model files: one that runs away must fail, not hang.</summary>
internal sealed class Budget(long units)
{
    private long _left = units;

    /// <summary>The line being worked on, for the message.</summary>
    public int Line { get; set; } = 1;

    /// <summary>Takes the units of new list items: an item is much larger than a character.</summary>
    public void ChargeItems(long count) => Charge(count * 8);

    /// <summary>Takes units: about one per character made and per step.</summary>
    public void Charge(long amount)
    {
        _left -= amount;
        if (_left < 0)
        {
            _left = 0;
            throw new TemplateException(Line, "the template does more work than a chat template may; check the template for an endless loop");
        }
    }
}

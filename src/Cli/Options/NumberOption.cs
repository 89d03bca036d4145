using System.CommandLine;
using System.Globalization;
using System.Numerics;
using LowLevelSpec.Models;

namespace LowLevelSpec.Cli.Options;

/// <summary>A number that is read when the command runs: a bad value is bad input (exit 1), not wrong usage (exit 2).</summary>
/// <typeparam name="T">int, long, ulong or float.</typeparam>
internal sealed class NumberOption<T> : Option<string?>
    where T : struct, INumber<T>, IMinMaxValue<T>
{
    private readonly T _low, _high;

    /// <summary>Creates the option; values outside <paramref name="low"/> to <paramref name="high"/> are refused.</summary>
    public NumberOption(string name, string description, T? low = null, T? high = null)
        : base(name)
    {
        Description = description;
        HelpName = "N";
        (_low, _high) = (low ?? T.MinValue, high ?? T.MaxValue);
    }

    /// <summary>The range in words, where only the engine can check it; null = from the bounds.</summary>
    public string? Range { get; init; }

    /// <summary>The value, or null where the option is not given.</summary>
    /// <exception cref="InputException">Not a number, or out of range.</exception>
    public T? Read(ParseResult result)
    {
        string? text = result.GetValue(this);
        if (text is null)
        {
            return null;
        }

        bool whole = T.IsInteger(T.One / (T.One + T.One));
        NumberStyles styles = whole ? NumberStyles.AllowLeadingSign : NumberStyles.Float;
        return T.TryParse(text, styles, CultureInfo.InvariantCulture, out T value) && T.IsFinite(value) && value >= _low && value <= _high
            ? value
            : throw new InputException($"{Name}: found '{text}', expected {Range ?? Expected(whole)}");
    }

    private string Expected(bool whole)
    {
        string kind = whole ? "a whole number" : "a number";
        bool bounded = whole || _low != T.MinValue || _high != T.MaxValue;
        return !bounded ? kind : _high == T.MaxValue && !whole ? $"{kind} from {_low}" : $"{kind} from {_low} to {_high}";
    }
}

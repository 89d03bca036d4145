using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;

namespace LowLevelSpec.Models.Jinja;

// Values of the template language: null (none), bool, long, double, TemplateText, TemplateList, TemplateDict, Undefined,
// NamespaceValue, LoopValue, Callable.

/// <summary>The value of a name, attribute or item that is not there.</summary>
internal sealed record Undefined(string What);

/// <summary>A list or tuple.</summary>
internal sealed record TemplateList(List<object?> Items, bool IsTuple = false);

/// <summary>A dictionary, in insertion order.</summary>
internal sealed class TemplateDict
{
    public OrderedDictionary<object, object?> Items { get; } = [];
}

/// <summary>What namespace() makes: the one kind of value whose attributes can be set.</summary>
internal sealed class NamespaceValue
{
    public Dictionary<string, object?> Attributes { get; } = [];
}

/// <summary>A function, macro or method.</summary>
internal sealed record Callable(string Name, Func<Arguments, object?> Invoke);

/// <summary>Arguments of a call, with their values.</summary>
internal sealed record Arguments(string Owner, int Line, IReadOnlyList<object?> Positional, IReadOnlyList<(string Name, object? Value)> Named)
{
    /// <summary>Stands for an argument that was not given.</summary>
    public static readonly object Missing = new();

    /// <summary>The arguments in the order of the parameters; those not given are <see cref="Missing"/>.</summary>
    public object?[] Bind(params string[] names)
    {
        if (Positional.Count > names.Length)
        {
            throw new TemplateException(Line, $"{Owner} takes at most {names.Length} arguments, {Positional.Count} are given");
        }

        var bound = new object?[names.Length];
        for (var i = 0; i < names.Length; i++)
        {
            bound[i] = i < Positional.Count ? Positional[i] : Missing;
        }

        foreach (var (name, value) in Named)
        {
            var index = Array.IndexOf(names, name);
            bound[index] = index >= 0 && ReferenceEquals(bound[index], Missing)
                ? value
                : throw new TemplateException(Line, $"{Owner} has no argument '{name}', or it is given twice");
        }

        return bound;
    }
}

/// <summary>What Python's operators do with the values of the template language.</summary>
internal static class Values
{
    public static bool IsTrue(object? value) => value switch
    {
        null or Undefined => false,
        bool flag => flag,
        long integer => integer != 0,
        double real => real != 0,
        TemplateText text => text.Value.Length > 0,
        TemplateList list => list.Items.Count > 0,
        TemplateDict dict => dict.Items.Count > 0,
        _ => true,
    };

    public static string TypeName(object? value) => value switch
    {
        null => "none",
        Undefined undefined => $"undefined ({undefined.What})",
        bool => "a boolean",
        long => "an integer",
        double => "a float",
        TemplateText => "a string",
        TemplateList { IsTuple: true } => "a tuple",
        TemplateList => "a list",
        TemplateDict => "a dictionary",
        NamespaceValue => "a namespace",
        Callable callable => $"a function ({callable.Name})",
        _ => "an object",
    };

    public static bool AreEqual(object? left, object? right, Budget budget)
    {
        budget.Charge(1);
        CheckDepth(budget);
        switch (left, right)
        {
            case (TemplateText a, TemplateText b):
                budget.Charge(Math.Min(a.Value.Length, b.Value.Length));
                return a.Value == b.Value;
            case (TemplateList a, TemplateList b):
                if (a.IsTuple != b.IsTuple || a.Items.Count != b.Items.Count)
                {
                    return false;
                }

                for (var i = 0; i < a.Items.Count; i++)
                {
                    if (!AreEqual(a.Items[i], b.Items[i], budget))
                    {
                        return false;
                    }
                }

                return true;
            case (TemplateDict a, TemplateDict b):
                return a.Items.Count == b.Items.Count
                    && a.Items.All(pair => b.Items.TryGetValue(pair.Key, out var other) && AreEqual(pair.Value, other, budget));
            case (Undefined, Undefined):
                return true;
        }

        if (AsNumber(left) is { } x && AsNumber(right) is { } y)
        {
            return AsInteger(left) is { } i && AsInteger(right) is { } k ? i == k : x == y;
        }

        return left is null ? right is null : ReferenceEquals(left, right);
    }

    /// <summary>Order of two values; null if they have none.</summary>
    public static int? Order(object? left, object? right, Budget budget)
    {
        budget.Charge(1);
        CheckDepth(budget);
        switch (left, right)
        {
            case (TemplateText a, TemplateText b):
                budget.Charge(Math.Min(a.Value.Length, b.Value.Length));
                return CompareCodePoints(a.Value, b.Value);
            case (TemplateList a, TemplateList b) when a.IsTuple == b.IsTuple:
                for (var i = 0; i < Math.Min(a.Items.Count, b.Items.Count); i++)
                {
                    if (!AreEqual(a.Items[i], b.Items[i], budget))
                    {
                        return Order(a.Items[i], b.Items[i], budget);
                    }
                }

                return a.Items.Count.CompareTo(b.Items.Count);
        }

        return AsInteger(left) is { } m && AsInteger(right) is { } n ? m.CompareTo(n)
            : AsNumber(left) is { } x && AsNumber(right) is { } y ? x.CompareTo(y) : null;
    }

    public static long? AsInteger(object? value) => value switch
    {
        long integer => integer,
        bool flag => flag ? 1 : 0,
        _ => null,
    };

    public static double? AsNumber(object? value) => value is double real ? real : AsInteger(value);

    /// <summary>What printing a value shows.</summary>
    public static TemplateText ToText(object? value, Budget budget)
    {
        switch (value)
        {
            case TemplateText text:
                return text;
            case Undefined:
                return TemplateText.Empty;
            default:
                var builder = new TextBuilder(budget);
                Represent(value, builder, budget);
                return builder.ToText();
        }
    }

    /// <summary>Appends Python's representation of a value.</summary>
    public static void Represent(object? value, TextBuilder output, Budget budget)
    {
        CheckDepth(budget);
        switch (value)
        {
            case null:
                output.Append("None");
                break;
            case bool flag:
                output.Append(flag ? "True" : "False");
                break;
            case long integer:
                output.Append(integer.ToString(CultureInfo.InvariantCulture));
                break;
            case double real:
                output.Append(FloatText(real));
                break;
            case TemplateText text:
                output.Append(text.DeriveWhole(Quote(text.Value)));
                break;
            case TemplateList list:
                output.Append(list.IsTuple ? "(" : "[");
                for (var i = 0; i < list.Items.Count; i++)
                {
                    output.Append(i > 0 ? ", " : "");
                    Represent(list.Items[i], output, budget);
                }

                output.Append(list.IsTuple ? list.Items.Count == 1 ? ",)" : ")" : "]");
                break;
            case TemplateDict dict:
                output.Append("{");
                foreach (var (index, pair) in dict.Items.Index())
                {
                    output.Append(index > 0 ? ", " : "");
                    Represent(pair.Key, output, budget);
                    output.Append(": ");
                    Represent(pair.Value, output, budget);
                }

                output.Append("}");
                break;
            case Undefined:
                output.Append("Undefined");
                break;
            default:
                output.Append($"<{TypeName(value)}>");
                break;
        }
    }

    /// <summary>Python's text of a float.</summary>
    public static string FloatText(double value)
    {
        if (double.IsNaN(value))
        {
            return "nan";
        }

        if (double.IsInfinity(value))
        {
            return value > 0 ? "inf" : "-inf";
        }

        // Both write the shortest digits that give the value back; Python turns to the scientific form later.
        var text = value.ToString("R", CultureInfo.InvariantCulture);
        var mark = text.IndexOf('E', StringComparison.Ordinal);
        if (mark < 0)
        {
            return text.Contains('.', StringComparison.Ordinal) ? text : text + ".0";
        }

        var exponent = int.Parse(text.AsSpan(mark + 1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture);
        return exponent is >= -4 and < 16
            ? decimal.Parse(text, NumberStyles.Float, CultureInfo.InvariantCulture).ToString("0.0###############################", CultureInfo.InvariantCulture)
            : $"{text[..mark]}e{(exponent < 0 ? "-" : "+")}{Math.Abs(exponent):00}";
    }

    /// <summary>Fails before deep nesting exhausts the stack.</summary>
    public static void CheckDepth(Budget budget)
    {
        if (!RuntimeHelpers.TryEnsureSufficientExecutionStack())
        {
            throw new TemplateException(budget.Line, "values are nested too deeply");
        }
    }

    // UTF-16 order differs from code point order above the surrogates.
    private static int CompareCodePoints(string left, string right)
    {
        var common = left.AsSpan().CommonPrefixLength(right);
        if (common == left.Length || common == right.Length)
        {
            return left.Length.CompareTo(right.Length);
        }

        var (a, b) = (left[common], right[common]);
        return char.IsSurrogate(a) == char.IsSurrogate(b) ? a.CompareTo(b) : char.IsSurrogate(a) ? 1 : -1;
    }

    private static string Quote(string text)
    {
        var quote = text.Contains('\'', StringComparison.Ordinal) && !text.Contains('"', StringComparison.Ordinal) ? '"' : '\'';
        var quoted = new StringBuilder(text.Length + 2).Append(quote);
        foreach (var c in text)
        {
            _ = c switch
            {
                '\\' => quoted.Append("\\\\"),
                '\n' => quoted.Append("\\n"),
                '\r' => quoted.Append("\\r"),
                '\t' => quoted.Append("\\t"),
                _ when c == quote => quoted.Append('\\').Append(c),
                < ' ' or (>= '\x7f' and < '\xa1') or '\xad' => quoted.Append($"\\x{(int)c:x2}"),
                _ => quoted.Append(c),
            };
        }

        return quoted.Append(quote).ToString();
    }
}

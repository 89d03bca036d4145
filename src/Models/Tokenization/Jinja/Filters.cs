using System.Globalization;

namespace LowLevelSpec.Models.Jinja;

/// <summary>What may stand after a bar.</summary>
internal static class Filters
{
    private static readonly Dictionary<string, Func<Interpreter, object?, Arguments, object?>> All = new()
    {
        ["trim"] = (i, v, a) => Texts.Strip(Text(i, v), OptionalText(i, a.Bind("chars")[0]), true, true),
        ["upper"] = (i, v, _) => Text(i, v) is var t ? t.Derive(t.Value.ToUpperInvariant()) : null,
        ["lower"] = (i, v, _) => Text(i, v) is var t ? t.Derive(t.Value.ToLowerInvariant()) : null,
        ["title"] = (i, v, _) => Text(i, v) is var t ? t.Derive(Texts.TitleFilter(t.Value)) : null,
        ["capitalize"] = (i, v, _) => Text(i, v) is var t ? t.Derive(Texts.Capitalize(t.Value)) : null,
        ["length"] = Length,
        ["count"] = Length,
        ["join"] = (i, v, a) => a.Bind("d", "attribute") is var b
            ? Join(i, Projected(i, v, b[1], a), Given(b[0]) is null ? TemplateText.Empty : Text(i, b[0])) : null,
        ["default"] = Default,
        ["d"] = Default,
        ["first"] = (i, v, a) => i.Iterate(v, a.Line) is { Count: > 0 } items ? items[0] : new Undefined("there is no first item"),
        ["last"] = (i, v, a) => i.Iterate(v, a.Line) is { Count: > 0 } items ? items[^1] : new Undefined("there is no last item"),
        ["tojson"] = ToJson,
        ["replace"] = (i, v, a) => a.Bind("old", "new", "count") is var b
            ? Texts.Replace(i.Budget, Text(i, v), Text(i, b[0]), Text(i, b[1]), Given(b[2]) is null ? -1 : Integer(b[2], a)) : null,
        ["items"] = (_, v, a) => v is Undefined ? new TemplateList([]) : Items(v as TemplateDict ?? throw Wrong(a, "a dictionary", v)),
        ["list"] = (i, v, a) => new TemplateList([.. i.Iterate(v, a.Line)]),
        ["string"] = (i, v, _) => Text(i, v),
        ["safe"] = (i, v, _) => Text(i, v),
        ["int"] = ToInteger,
        ["float"] = (_, v, a) => Values.AsNumber(v)
            ?? (v is TemplateText t && double.TryParse(t.Value, NumberStyles.Float, CultureInfo.InvariantCulture, out var real) ? real : Given(a.Bind("default")[0]) ?? 0.0),
        ["abs"] = (_, v, a) => v is double real ? (object)Math.Abs(real) : Math.Abs(Math.Max(Integer(v, a), -long.MaxValue)),
        ["round"] = Round,
        ["map"] = ListFilters.Map,
        ["select"] = (i, v, a) => ListFilters.Select(i, v, a, byAttribute: false, keep: true),
        ["reject"] = (i, v, a) => ListFilters.Select(i, v, a, byAttribute: false, keep: false),
        ["selectattr"] = (i, v, a) => ListFilters.Select(i, v, a, byAttribute: true, keep: true),
        ["rejectattr"] = (i, v, a) => ListFilters.Select(i, v, a, byAttribute: true, keep: false),
        ["sort"] = ListFilters.Sort,
        ["unique"] = ListFilters.Unique,
        ["dictsort"] = ListFilters.SortDict,
        ["min"] = (i, v, a) => ListFilters.Extreme(i, v, a, -1),
        ["max"] = (i, v, a) => ListFilters.Extreme(i, v, a, 1),
        ["sum"] = ListFilters.Sum,
        ["reverse"] = Reverse,
        ["indent"] = Indent,
        ["escape"] = Escape,
        ["e"] = Escape,
        ["format"] = (i, v, a) => Format(i.Budget, Text(i, v), a.Positional, a.Line),
        ["attr"] = (i, v, a) => i.Attribute(v, Text(i, a.Bind("name")[0]).Value, a.Line),
    };

    public static bool Exists(string name) => All.ContainsKey(name);

    public static object? Apply(Interpreter interpreter, string name, object? value, Arguments arguments)
    {
        var filter = All.GetValueOrDefault(name) ?? throw new TemplateException(arguments.Line, $"unknown filter '{name}'");
        interpreter.Budget.Charge(1 + (value is TemplateText text ? text.Value.Length : 0));
        return filter(interpreter, value, arguments);
    }

    public static TemplateList Items(TemplateDict dict)
        => new([.. dict.Items.Select(pair => (object?)new TemplateList([pair.Key, pair.Value], IsTuple: true))]);

    public static TemplateText Join(Interpreter interpreter, List<object?> items, TemplateText separator)
    {
        var builder = new TextBuilder(interpreter.Budget);
        for (var i = 0; i < items.Count; i++)
        {
            builder.Append(i > 0 ? separator : TemplateText.Empty).Append(Text(interpreter, items[i]));
        }

        return builder.ToText();
    }

    /// <summary>Python's % formatting, without widths: %s, %d, %%.</summary>
    public static TemplateText Format(Budget budget, TemplateText format, IReadOnlyList<object?> values, int line)
    {
        var builder = new TextBuilder(budget);
        var used = 0;
        var start = 0;
        for (int at; (at = format.Value.IndexOf('%', start)) >= 0; start = at + 2)
        {
            builder.Append(format.Substring(start, at - start));
            var code = at + 1 < format.Value.Length ? format.Value[at + 1] : ' ';
            if (code == '%')
            {
                builder.Append("%");
            }
            else if (code is 's' or 'd' && used < values.Count)
            {
                builder.Append(Values.ToText(values[used++], budget));
            }
            else
            {
                throw new TemplateException(line, $"'%{code}' in a format is not supported or has no value; supported: %s, %d, %%");
            }
        }

        return used == values.Count
            ? builder.Append(format.Substring(start, format.Value.Length - start)).ToText()
            : throw new TemplateException(line, $"a format has places for {used} values, {values.Count} are given");
    }

    internal static object? Given(object? value) => ReferenceEquals(value, Arguments.Missing) ? null : value;

    internal static TemplateText Text(Interpreter interpreter, object? value)
        => ReferenceEquals(value, Arguments.Missing) ? throw new TemplateException(interpreter.Budget.Line, "an argument is missing") : Values.ToText(value, interpreter.Budget);

    internal static TemplateException Wrong(Arguments arguments, string expected, object? found)
        => new(arguments.Line, $"{arguments.Owner} needs {expected}, found {Values.TypeName(found)}");

    private static TemplateText? OptionalText(Interpreter interpreter, object? value) => Given(value) is null ? null : Text(interpreter, value);

    private static long Integer(object? value, Arguments arguments) => Values.AsInteger(value) ?? throw Wrong(arguments, "an integer", value);

    private static List<object?> Projected(Interpreter interpreter, object? value, object? attribute, Arguments arguments)
        => Given(attribute) is null ? interpreter.Iterate(value, arguments.Line)
            : interpreter.Iterate(value, arguments.Line).ConvertAll(item => ListFilters.Project(interpreter, item, attribute, arguments));

    private static object? Length(Interpreter interpreter, object? value, Arguments arguments) => value switch
    {
        TemplateText text => (long)text.Length,
        TemplateList list => (long)list.Items.Count,
        TemplateDict dict => (long)dict.Items.Count,
        Undefined => 0L,
        _ => throw Wrong(arguments, "something with a length", value),
    };

    private static object? Default(Interpreter interpreter, object? value, Arguments arguments)
    {
        var bound = arguments.Bind("default_value", "boolean");
        var replaces = value is Undefined || (Values.IsTrue(Given(bound[1])) && !Values.IsTrue(value));
        return !replaces ? value : ReferenceEquals(bound[0], Arguments.Missing) ? TemplateText.Empty : bound[0];
    }

    private static TemplateText ToJson(Interpreter interpreter, object? value, Arguments arguments)
    {
        var bound = arguments.Bind("indent", "ensure_ascii", "separators", "sort_keys");
        var indent = Given(bound[0]) switch
        {
            null => null,
            TemplateText text => text.Value,
            var width => Spaces(interpreter, Integer(width, arguments)),
        };
        var separators = (Given(bound[2]) as TemplateList)?.Items;
        if (separators is not null && separators.Count != 2)
        {
            throw new TemplateException(arguments.Line, "tojson needs two separators");
        }

        var builder = new TextBuilder(interpreter.Budget);
        var json = new Json(
            builder,
            interpreter.Budget,
            indent,
            separators is null ? indent is null ? ", " : "," : Text(interpreter, separators[0]).Value,
            separators is null ? ": " : Text(interpreter, separators[1]).Value,
            Values.IsTrue(Given(bound[3])),
            Values.IsTrue(Given(bound[1])));
        json.Write(value);
        return builder.ToText();
    }

    private static string Spaces(Interpreter interpreter, long width)
    {
        interpreter.Budget.Charge(Math.Max(0, width));
        return new string(' ', (int)Math.Max(0, width));
    }

    private static object? ToInteger(Interpreter interpreter, object? value, Arguments arguments)
    {
        var bound = arguments.Bind("default", "base");
        var radix = Given(bound[1]) is null ? 10 : (int)Math.Clamp(Integer(bound[1], arguments), 0, 36);
        return value switch
        {
            double real when Math.Abs(real) < long.MaxValue => (long)real,
            TemplateText text when Texts.TryInteger(text.Value, radix, out var integer) => integer,
            TemplateText text when double.TryParse(text.Value, NumberStyles.Float, CultureInfo.InvariantCulture, out var real)
                && Math.Abs(real) < long.MaxValue => (long)real,
            _ => Values.AsInteger(value) ?? (ReferenceEquals(bound[0], Arguments.Missing) ? 0L : bound[0]),
        };
    }

    private static object? Round(Interpreter interpreter, object? value, Arguments arguments)
    {
        var bound = arguments.Bind("precision", "method");
        var scale = Math.Pow(10, Given(bound[0]) is null ? 0 : Integer(bound[0], arguments));
        var number = Values.AsNumber(value) ?? throw Wrong(arguments, "a number", value);
        return Given(bound[1]) switch
        {
            null or TemplateText { Value: "common" } => Math.Round(number * scale, MidpointRounding.ToEven) / scale,
            TemplateText { Value: "ceil" } => Math.Ceiling(number * scale) / scale,
            TemplateText { Value: "floor" } => Math.Floor(number * scale) / scale,
            _ => throw new TemplateException(arguments.Line, "round's method is common, ceil or floor"),
        };
    }

    private static object? Reverse(Interpreter interpreter, object? value, Arguments arguments)
    {
        var items = new List<object?>(interpreter.Iterate(value, arguments.Line));
        items.Reverse();
        return value is TemplateText ? Join(interpreter, items, TemplateText.Empty) : new TemplateList(items);
    }

    private static TemplateText Indent(Interpreter interpreter, object? value, Arguments arguments)
    {
        var bound = arguments.Bind("width", "first", "blank");
        var indent = Given(bound[0]) switch
        {
            null => "    ",
            TemplateText text => text.Value,
            var width => Spaces(interpreter, Integer(width, arguments)),
        };
        var builder = new TextBuilder(interpreter.Budget);
        var lines = Texts.Lines(Text(interpreter, value), keepEnds: false);
        if (Text(interpreter, value).Value.EndsWith('\n') || lines.Count == 0)
        {
            lines.Add(TemplateText.Empty);
        }

        for (var i = 0; i < lines.Count; i++)
        {
            var line = (TemplateText)lines[i]!;
            var indented = i == 0 ? Values.IsTrue(Given(bound[1])) : line.Value.Length > 0 || Values.IsTrue(Given(bound[2]));
            builder.Append(i > 0 ? "\n" : "").Append(indented ? indent : "").Append(line);
        }

        return builder.ToText();
    }

    private static TemplateText Escape(Interpreter interpreter, object? value, Arguments arguments)
    {
        var builder = new TextBuilder(interpreter.Budget);
        foreach (var c in Text(interpreter, value).Characters())
        {
            builder.Append(c.Value switch
            {
                "&" => c.DeriveWhole("&amp;"),
                "<" => c.DeriveWhole("&lt;"),
                ">" => c.DeriveWhole("&gt;"),
                "'" => c.DeriveWhole("&#39;"),
                "\"" => c.DeriveWhole("&#34;"),
                _ => c,
            });
        }

        return builder.ToText();
    }
}

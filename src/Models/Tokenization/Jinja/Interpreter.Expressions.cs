using System.Globalization;

namespace LowLevelSpec.Models.Jinja;

/// <summary>Evaluates a template's expressions.</summary>
internal sealed partial class Interpreter
{
    /// <summary>What the template may still do.</summary>
    internal Budget Budget => _budget;

    private object? Evaluate(Expression expression, Scope scope)
    {
        Values.CheckDepth(_budget);
        _budget.Charge(1);
        _budget.Line = expression.Line;
        switch (expression)
        {
            case LiteralExpression literal:
                return literal.Value;
            case NameExpression name:
                return scope.Get(name.Name);
            case ListExpression list:
                return new TemplateList(list.Items.Select(item => Evaluate(item, scope)).ToList(), list.IsTuple);
            case DictExpression dict:
                var made = new TemplateDict();
                foreach (var (key, value) in dict.Items)
                {
                    made.Items[Key(Evaluate(key, scope), dict.Line)] = Evaluate(value, scope);
                }

                return made;
            case AttributeExpression attribute:
                return Attribute(Evaluate(attribute.Target, scope), attribute.Name, attribute.Line);
            case ItemExpression item:
                return Item(Evaluate(item.Target, scope), Evaluate(item.Index, scope), item.Line);
            case SliceExpression slice:
                return Slice(slice, scope);
            case CallExpression call:
                return Call(call, scope);
            case FilterExpression filter:
                return EvaluateFilter(filter, null, scope);
            case TestExpression test:
                var arguments = Bind($"test '{test.Name}'", test.Arguments, scope, test.Line);
                return Tests.Apply(this, test.Name, Evaluate(test.Target, scope), arguments) != test.Negated;
            case UnaryExpression unary:
                return Unary(unary, Evaluate(unary.Operand, scope));
            case BinaryExpression { Operator: "and" } both:
                var first = Evaluate(both.Left, scope);
                return Values.IsTrue(first) ? Evaluate(both.Right, scope) : first;
            case BinaryExpression { Operator: "or" } either:
                var one = Evaluate(either.Left, scope);
                return Values.IsTrue(one) ? one : Evaluate(either.Right, scope);
            case BinaryExpression binary:
                return Operators.Binary(this, binary.Operator, Evaluate(binary.Left, scope), Evaluate(binary.Right, scope), binary.Line);
            case CompareExpression compare:
                return Compare(compare, scope);
            case ConditionalExpression conditional:
                return Values.IsTrue(Evaluate(conditional.Test, scope)) ? Evaluate(conditional.Then, scope)
                    : conditional.Else is null ? new Undefined("the condition is false and there is no 'else'") : Evaluate(conditional.Else, scope);
            default:
                throw new TemplateException(expression.Line, "unknown expression");
        }
    }

    /// <summary>A filter chain; its innermost filter, where it has no target of its own, gets <paramref name="input"/>.</summary>
    private object? EvaluateFilter(Expression expression, object? input, Scope scope)
    {
        if (expression is not FilterExpression filter)
        {
            return Evaluate(expression, scope);
        }

        Values.CheckDepth(_budget);
        var value = filter.Target is null ? input
            : filter.Target is FilterExpression ? EvaluateFilter(filter.Target, input, scope) : Evaluate(filter.Target, scope);
        var arguments = Bind($"filter '{filter.Name}'", filter.Arguments, scope, filter.Line);
        _budget.Line = filter.Line;
        return Filters.Apply(this, filter.Name, value, arguments);
    }

    private Arguments Bind(string owner, ArgumentList list, Scope scope, int line)
        => new(owner, line, list.Positional.Select(a => Evaluate(a, scope)).ToList(), list.Named.Select(a => (a.Name, Evaluate(a.Value, scope))).ToList());

    private object? Call(CallExpression call, Scope scope)
    {
        var target = Evaluate(call.Target, scope);
        if (target is not Callable callable)
        {
            throw new TemplateException(call.Line, $"{Describe(call.Target)} is {Values.TypeName(target)}, which cannot be called");
        }

        var arguments = Bind($"'{callable.Name}'", call.Arguments, scope, call.Line);
        _budget.Line = call.Line;
        return callable.Invoke(arguments);
    }

    private static string Describe(Expression expression) => expression switch
    {
        NameExpression name => $"'{name.Name}'",
        AttributeExpression attribute => $"'{attribute.Name}'",
        _ => "the value",
    };

    private bool Compare(CompareExpression compare, Scope scope)
    {
        var left = Evaluate(compare.First, scope);
        foreach (var (op, operand) in compare.Rest)
        {
            var right = Evaluate(operand, scope);
            if (!Operators.Compare(this, op, left, right, compare.Line))
            {
                return false;
            }

            left = right;
        }

        return true;
    }

    private static object? Unary(UnaryExpression unary, object? value) => (unary.Operator, value) switch
    {
        ("not", _) => !Values.IsTrue(value),
        ("-", double real) => -real,
        ("+", double real) => real,
        ("-", _) when Values.AsInteger(value) is { } integer and not long.MinValue => -integer,
        ("+", _) when Values.AsInteger(value) is { } integer => integer,
        _ => throw new TemplateException(unary.Line, $"'{unary.Operator}' cannot be applied to {Values.TypeName(value)}"),
    };

    internal static object Key(object? value, int line)
        => value is TemplateText or long or bool or double ? value : throw new TemplateException(line, $"{Values.TypeName(value)} cannot be a key");

    /// <summary>value.name: a method or attribute, else an item.</summary>
    internal object? Attribute(object? value, string name, int line)
    {
        switch (value)
        {
            case Undefined undefined:
                throw new TemplateException(line, $"{undefined.What}, so it has no attribute '{name}'");
            case NamespaceValue space:
                return space.Attributes.TryGetValue(name, out var attribute) ? attribute : new Undefined($"the namespace has no attribute '{name}'");
            case LoopValue loop:
                return loop.Attribute(name, _budget);
        }

        return Methods.Find(this, value, name)
            ?? (value is TemplateDict dict && dict.Items.TryGetValue(TemplateText.Own(name), out var item) ? item
                : new Undefined($"{Values.TypeName(value)} has no attribute '{name}'"));
    }

    /// <summary>value[index]: an item, else an attribute.</summary>
    internal object? Item(object? value, object? index, int line)
    {
        switch (value)
        {
            case Undefined undefined:
                throw new TemplateException(line, $"{undefined.What}, so it has no items");
            case TemplateDict dict when index is TemplateText or long or bool or double && dict.Items.TryGetValue(index, out var item):
                return item;
            case TemplateList list when Values.AsInteger(index) is { } at:
                at = at < 0 ? at + list.Items.Count : at;
                return at >= 0 && at < list.Items.Count ? list.Items[(int)at] : new Undefined($"{Values.TypeName(value)} has no item {at}");
            case TemplateText text when Values.AsInteger(index) is { } at:
                at = at < 0 ? at + text.Length : at;
                if (at < 0 || at >= text.Length)
                {
                    return new Undefined($"the string has no character {at}");
                }

                _budget.Charge(text.Value.Length == text.Length ? 1 : text.Length);
                var position = text.Position((int)at);
                return text.Substring(position, text.RuneLength(position));
        }

        return index is TemplateText name ? Attribute(value, name.Value, line)
            : new Undefined($"{Values.TypeName(value)} has no such item");
    }

    private object? Slice(SliceExpression slice, Scope scope)
    {
        var target = Evaluate(slice.Target, scope);
        var length = target switch
        {
            TemplateText text => text.Length,
            TemplateList list => list.Items.Count,
            Undefined undefined => throw new TemplateException(slice.Line, $"{undefined.What}, so it cannot be sliced"),
            _ => throw new TemplateException(slice.Line, $"{Values.TypeName(target)} cannot be sliced"),
        };
        var step = Bound(slice.Step, scope) ?? 1;
        if (step == 0)
        {
            throw new TemplateException(slice.Line, "a slice's step cannot be 0");
        }

        // Python's rules: negative bounds count from the end, bounds out of range are cut.
        var last = step > 0 ? length : length - 1;
        var first = step > 0 ? 0 : -1;
        var start = Clamp(Bound(slice.Start, scope), step > 0 ? first : last);
        var stop = Clamp(Bound(slice.Stop, scope), step > 0 ? last : first);
        _budget.Charge(length);
        if (target is TemplateText whole)
        {
            if (step == 1)
            {
                var from = whole.Position((int)start);
                return stop > start ? whole.Substring(from, whole.Position((int)stop) - from) : TemplateText.Empty;
            }

            var characters = whole.Characters().ToList();
            var builder = new TextBuilder(_budget);
            for (var i = start; step > 0 ? i < stop : i > stop; i += step)
            {
                builder.Append(characters[(int)i]);
            }

            return builder.ToText();
        }

        var source = (TemplateList)target;
        var items = new List<object?>();
        for (var i = start; step > 0 ? i < stop : i > stop; i += step)
        {
            items.Add(source.Items[(int)i]);
        }

        return new TemplateList(items, source.IsTuple);

        long Clamp(long? bound, long otherwise)
            => bound is not { } given ? otherwise : Math.Clamp(given < 0 ? given + length : given, first, last);
    }

    private long? Bound(Expression? expression, Scope scope)
    {
        if (expression is null)
        {
            return null;
        }

        // Within this range sums of bounds and lengths cannot overflow.
        var value = Evaluate(expression, scope);
        return value is null ? null
            : Values.AsInteger(value) is { } integer ? Math.Clamp(integer, int.MinValue, int.MaxValue)
            : throw new TemplateException(expression.Line, $"a slice's bound is {Values.TypeName(value)}, expected an integer");
    }

    private void AddGlobals(Scope scope, DateTime now)
    {
        Add("range", arguments => Range(arguments));
        Add("namespace", arguments =>
        {
            var space = new NamespaceValue();
            foreach (var value in arguments.Positional)
            {
                foreach (var (key, item) in (value as TemplateDict ?? throw new TemplateException(arguments.Line, "namespace takes a dictionary or named arguments")).Items)
                {
                    space.Attributes[key.ToString() ?? ""] = item;
                }
            }

            foreach (var (name, value) in arguments.Named)
            {
                space.Attributes[name] = value;
            }

            return space;
        });
        Add("dict", arguments =>
        {
            var dict = new TemplateDict();
            foreach (var (key, item) in arguments.Positional.OfType<TemplateDict>().SelectMany(d => d.Items))
            {
                dict.Items[key] = item;
            }

            foreach (var (name, value) in arguments.Named)
            {
                dict.Items[TemplateText.Own(name)] = value;
            }

            return dict;
        });
        Add("raise_exception", arguments => throw new TemplateException(
            arguments.Line, Filters.Text(this, arguments.Bind("message")[0]).Value, raisedByTemplate: true));
        Add("strftime_now", arguments =>
        {
            var format = Filters.Text(this, arguments.Bind("format")[0]);
            _budget.Charge(format.Value.Length * 8L);
            return format.DeriveWhole(Dates.Format(now, format.Value, arguments.Line));
        });

        void Add(string name, Func<Arguments, object?> function) => scope.Set(name, new Callable(name, function));
    }

    private TemplateList Range(Arguments arguments)
    {
        var bounds = arguments.Positional.Select(a => Values.AsInteger(a)
            ?? throw new TemplateException(arguments.Line, $"range takes integers, found {Values.TypeName(a)}")).ToArray();
        if (bounds.Length is 0 or > 3 || arguments.Named.Count > 0 || (bounds.Length == 3 && bounds[2] == 0))
        {
            throw new TemplateException(arguments.Line, "range takes one to three integers, the third not 0");
        }

        var (start, stop, step) = (bounds.Length > 1 ? bounds[0] : 0, bounds.Length > 1 ? bounds[1] : bounds[0], bounds.Length > 2 ? bounds[2] : 1);
        var items = new List<object?>();
        for (Int128 i = start; step > 0 ? i < stop : i > stop; i += step)
        {
            _budget.ChargeItems(1);
            items.Add((long)i);
        }

        return new TemplateList(items);
    }
}

/// <summary>Python's strftime.</summary>
internal static class Dates
{
    public static string Format(DateTime time, string format, int line)
    {
        var result = new System.Text.StringBuilder();
        for (var i = 0; i < format.Length; i++)
        {
            if (format[i] != '%' || i + 1 == format.Length)
            {
                result.Append(format[i]);
                continue;
            }

            var unpadded = format[++i] == '-' && i + 1 < format.Length;
            var text = One(time, unpadded ? format[++i] : format[i]) ?? throw new TemplateException(line, $"strftime_now does not know '%{format[i]}'");
            result.Append(unpadded && text.Length > 1 ? text.TrimStart('0') is { Length: > 0 } trimmed ? trimmed : "0" : text);
        }

        return result.ToString();
    }

    private static string? One(DateTime time, char code) => code switch
    {
        'Y' => time.ToString("yyyy", CultureInfo.InvariantCulture),
        'y' => time.ToString("yy", CultureInfo.InvariantCulture),
        'm' => time.ToString("MM", CultureInfo.InvariantCulture),
        'd' => time.ToString("dd", CultureInfo.InvariantCulture),
        'e' => time.Day.ToString(CultureInfo.InvariantCulture).PadLeft(2),
        'H' => time.ToString("HH", CultureInfo.InvariantCulture),
        'I' => time.ToString("hh", CultureInfo.InvariantCulture),
        'M' => time.ToString("mm", CultureInfo.InvariantCulture),
        'S' => time.ToString("ss", CultureInfo.InvariantCulture),
        'f' => time.ToString("ffffff", CultureInfo.InvariantCulture),
        'p' => time.ToString("tt", CultureInfo.InvariantCulture),
        'B' => time.ToString("MMMM", CultureInfo.InvariantCulture),
        'b' or 'h' => time.ToString("MMM", CultureInfo.InvariantCulture),
        'A' => time.ToString("dddd", CultureInfo.InvariantCulture),
        'a' => time.ToString("ddd", CultureInfo.InvariantCulture),
        'j' => time.DayOfYear.ToString("000", CultureInfo.InvariantCulture),
        'u' => (time.DayOfWeek == DayOfWeek.Sunday ? 7 : (int)time.DayOfWeek).ToString(CultureInfo.InvariantCulture),
        'w' => ((int)time.DayOfWeek).ToString(CultureInfo.InvariantCulture),
        'F' => time.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture),
        'T' or 'X' => time.ToString("HH:mm:ss", CultureInfo.InvariantCulture),
        'R' => time.ToString("HH:mm", CultureInfo.InvariantCulture),
        'D' or 'x' => time.ToString("MM/dd/yy", CultureInfo.InvariantCulture),
        'c' => $"{time.ToString("ddd MMM", CultureInfo.InvariantCulture)} {time.Day.ToString(CultureInfo.InvariantCulture),2} {time.ToString("HH:mm:ss yyyy", CultureInfo.InvariantCulture)}",
        'Z' or 'z' => "",
        'n' => "\n",
        't' => "\t",
        '%' => "%",
        _ => null,
    };
}

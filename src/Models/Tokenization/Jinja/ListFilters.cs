using System.Runtime.ExceptionServices;

namespace LowLevelSpec.Models.Jinja;

/// <summary>Filters that work through the items of a list.</summary>
internal static class ListFilters
{
    public static object? Map(Interpreter interpreter, object? value, Arguments arguments)
    {
        var items = interpreter.Iterate(value, arguments.Line);
        if (arguments.Positional.Count == 0)
        {
            var bound = arguments.Bind("attribute", "default");
            return new TemplateList(items.ConvertAll(item =>
            {
                interpreter.Budget.Charge(1);
                var projected = Project(interpreter, item, bound[0], arguments);
                return projected is Undefined && !ReferenceEquals(bound[1], Arguments.Missing) ? bound[1] : projected;
            }));
        }

        var name = Filters.Text(interpreter, arguments.Positional[0]).Value;
        var rest = Rest(arguments, $"filter '{name}'", 1);
        return new TemplateList(items.ConvertAll(item => Filters.Apply(interpreter, name, item, rest)));
    }

    public static object? Select(Interpreter interpreter, object? value, Arguments arguments, bool byAttribute, bool keep)
    {
        var skip = byAttribute ? 1 : 0;
        if (arguments.Positional.Count < skip)
        {
            throw new TemplateException(arguments.Line, $"{arguments.Owner} needs an attribute's name");
        }

        var name = arguments.Positional.Count > skip ? Filters.Text(interpreter, arguments.Positional[skip]).Value : null;
        var rest = Rest(arguments, $"test '{name}'", skip + 1);
        return new TemplateList(interpreter.Iterate(value, arguments.Line).FindAll(item =>
        {
            interpreter.Budget.Charge(1);
            var tested = byAttribute ? Project(interpreter, item, arguments.Positional[0], arguments) : item;
            return (name is null ? Values.IsTrue(tested) : Tests.Apply(interpreter, name, tested, rest)) == keep;
        }));
    }

    public static object? Sort(Interpreter interpreter, object? value, Arguments arguments)
    {
        var bound = arguments.Bind("reverse", "case_sensitive", "attribute");
        var items = interpreter.Iterate(value, arguments.Line);
        return new TemplateList(Sorted(interpreter, items, bound[2], bound[1], Values.IsTrue(Filters.Given(bound[0])), arguments));
    }

    public static object? SortDict(Interpreter interpreter, object? value, Arguments arguments)
    {
        var bound = arguments.Bind("case_sensitive", "by", "reverse");
        var dict = value as TemplateDict ?? throw Filters.Wrong(arguments, "a dictionary", value);
        var by = Filters.Given(bound[1]) is TemplateText { Value: "value" } ? 1L : 0L;
        return new TemplateList(Sorted(interpreter, Filters.Items(dict).Items, by, bound[0], Values.IsTrue(Filters.Given(bound[2])), arguments));
    }

    public static object? Unique(Interpreter interpreter, object? value, Arguments arguments)
    {
        var bound = arguments.Bind("case_sensitive", "attribute");
        var seen = new List<object?>();
        return new TemplateList(interpreter.Iterate(value, arguments.Line).FindAll(item =>
        {
            var key = SortKey(interpreter, item, bound[1], bound[0], arguments);
            if (seen.Exists(other => Values.AreEqual(other, key, interpreter.Budget)))
            {
                return false;
            }

            seen.Add(key);
            return true;
        }));
    }

    public static object? Extreme(Interpreter interpreter, object? value, Arguments arguments, int sign)
    {
        var bound = arguments.Bind("case_sensitive", "attribute");
        var items = interpreter.Iterate(value, arguments.Line);
        object? best = new Undefined("there is no item");
        object? bestKey = null;
        for (var i = 0; i < items.Count; i++)
        {
            var key = SortKey(interpreter, items[i], bound[1], bound[0], arguments);
            if (i == 0 || Order(interpreter, key, bestKey, arguments) * sign > 0)
            {
                (best, bestKey) = (items[i], key);
            }
        }

        return best;
    }

    public static object? Sum(Interpreter interpreter, object? value, Arguments arguments)
    {
        var bound = arguments.Bind("attribute", "start");
        var sum = ReferenceEquals(bound[1], Arguments.Missing) ? 0L : bound[1];
        foreach (var item in interpreter.Iterate(value, arguments.Line))
        {
            sum = Operators.Binary(interpreter, "+", sum, Project(interpreter, item, bound[0], arguments), arguments.Line);
        }

        return sum;
    }

    /// <summary>An item's attribute ("a.b": an attribute of an attribute), or the item itself where none is named.</summary>
    public static object? Project(Interpreter interpreter, object? item, object? attribute, Arguments arguments)
    {
        switch (Filters.Given(attribute))
        {
            case null:
                return item;
            case TemplateText path:
                foreach (var name in path.Value.Split('.'))
                {
                    object? key = long.TryParse(name, out var index) ? index : TemplateText.Own(name);
                    item = interpreter.Item(item, key, arguments.Line);
                }

                return item;
            default:
                return interpreter.Item(item, attribute, arguments.Line);
        }
    }

    /// <summary>Sorts; a template's failure in a comparison passes through as it is.</summary>
    public static List<T> StableSort<T>(IEnumerable<T> items, Comparison<T> comparison)
    {
        try
        {
            return items.Order(Comparer<T>.Create(comparison)).ToList();
        }
        catch (InvalidOperationException e) when (e.InnerException is TemplateException inner)
        {
            ExceptionDispatchInfo.Throw(inner);
            throw;
        }
    }

    private static Arguments Rest(Arguments arguments, string owner, int skip)
        => new(owner, arguments.Line, arguments.Positional.Skip(skip).ToList(), arguments.Named);

    private static List<object?> Sorted(
        Interpreter interpreter, List<object?> items, object? attribute, object? caseSensitive, bool reverse, Arguments arguments)
    {
        var keyed = items.ConvertAll(item => (Item: item, Key: SortKey(interpreter, item, attribute, caseSensitive, arguments)));

        // Equal items keep their order in reverse too, as in Python.
        var sign = reverse ? -1 : 1;
        return StableSort(keyed, (a, b) => sign * Order(interpreter, a.Key, b.Key, arguments)).ConvertAll(k => k.Item);
    }

    private static object? SortKey(Interpreter interpreter, object? item, object? attribute, object? caseSensitive, Arguments arguments)
    {
        var key = Project(interpreter, item, attribute, arguments);
        if (key is not TemplateText text || Values.IsTrue(Filters.Given(caseSensitive)))
        {
            return key;
        }

        interpreter.Budget.Charge(text.Value.Length);
        return text.Derive(text.Value.ToLowerInvariant());
    }

    private static int Order(Interpreter interpreter, object? left, object? right, Arguments arguments)
        => Values.Order(left, right, interpreter.Budget)
            ?? throw new TemplateException(arguments.Line, $"{Values.TypeName(left)} and {Values.TypeName(right)} have no order");
}

namespace LowLevelSpec.Models.Jinja;

/// <summary>Methods of strings, lists and dictionaries: those of Python that change nothing.</summary>
internal static class Methods
{
    private static readonly HashSet<string> OfStrings =
    [
        "strip", "lstrip", "rstrip", "split", "rsplit", "splitlines", "startswith", "endswith", "upper", "lower", "title", "capitalize",
        "replace", "join", "find", "rfind", "index", "count", "removeprefix", "removesuffix", "isdigit", "isalpha", "isalnum", "isspace",
        "isupper", "islower", "zfill",
    ];

    /// <summary>A method, or null if the value has none of that name.</summary>
    public static Callable? Find(Interpreter interpreter, object? value, string name) => value switch
    {
        TemplateText text when OfStrings.Contains(name) => new Callable(name, arguments => OfString(interpreter, text, name, arguments)),
        TemplateDict dict when name is "items" or "keys" or "values" or "get" => new Callable(name, arguments => OfDict(interpreter, dict, name, arguments)),
        TemplateList list when name is "index" or "count" => new Callable(name, arguments => OfList(interpreter, list, name, arguments)),
        _ => null,
    };

    private static object? OfDict(Interpreter interpreter, TemplateDict dict, string name, Arguments arguments)
    {
        interpreter.Budget.Charge(dict.Items.Count);
        switch (name)
        {
            case "items":
                return Filters.Items(dict);
            case "keys":
                return new TemplateList([.. dict.Items.Keys]);
            case "values":
                return new TemplateList([.. dict.Items.Values]);
            default:
                var bound = arguments.Bind("key", "default");
                return dict.Items.TryGetValue(Interpreter.Key(bound[0], arguments.Line), out var item) ? item
                    : ReferenceEquals(bound[1], Arguments.Missing) ? null : bound[1];
        }
    }

    private static object OfList(Interpreter interpreter, TemplateList list, string name, Arguments arguments)
    {
        var wanted = arguments.Bind("value")[0];
        if (name == "count")
        {
            return (long)list.Items.Count(item => Values.AreEqual(item, wanted, interpreter.Budget));
        }

        var at = list.Items.FindIndex(item => Values.AreEqual(item, wanted, interpreter.Budget));
        return at >= 0 ? (long)at : throw new TemplateException(arguments.Line, "the list does not hold the value");
    }

    private static object? OfString(Interpreter interpreter, TemplateText text, string name, Arguments arguments)
    {
        var budget = interpreter.Budget;
        budget.Charge(1 + text.Value.Length);
        switch (name)
        {
            case "strip" or "lstrip" or "rstrip":
                return Texts.Strip(text, OptionalText(arguments.Bind("chars")[0], arguments), name != "rstrip", name != "lstrip");
            case "split" or "rsplit":
                var split = arguments.Bind("sep", "maxsplit");
                return new TemplateList(Texts.Split(budget, text, OptionalText(split[0], arguments), Integer(split[1], -1, arguments), name == "rsplit", arguments.Line));
            case "splitlines":
                return new TemplateList(Texts.Lines(text, keepEnds: Values.IsTrue(Given(arguments.Bind("keepends")[0]))));
            case "startswith":
                return Affixes(arguments).Exists(a => text.Value.StartsWith(a, StringComparison.Ordinal));
            case "endswith":
                return Affixes(arguments).Exists(a => text.Value.EndsWith(a, StringComparison.Ordinal));
            case "upper":
                return text.Derive(text.Value.ToUpperInvariant());
            case "lower":
                return text.Derive(text.Value.ToLowerInvariant());
            case "title":
                return text.Derive(Texts.Title(text.Value));
            case "capitalize":
                return text.Derive(Texts.Capitalize(text.Value));
            case "replace":
                var replace = arguments.Bind("old", "new", "count");
                return Texts.Replace(budget, text, Text(replace[0], arguments), Text(replace[1], arguments), Integer(replace[2], -1, arguments));
            case "join":
                return Filters.Join(interpreter, interpreter.Iterate(arguments.Bind("items")[0], arguments.Line), text);
            case "find" or "rfind" or "index":
                var part = Text(arguments.Bind("sub")[0], arguments).Value;
                var at = name == "rfind" ? text.Value.LastIndexOf(part, StringComparison.Ordinal) : text.Value.IndexOf(part, StringComparison.Ordinal);
                return at >= 0 || name != "index"
                    ? (long)(at > 0 ? text.Substring(0, at).Length : at)
                    : throw new TemplateException(arguments.Line, "the string does not hold the text");
            case "count":
                return (long)Texts.Count(text.Value, Text(arguments.Bind("sub")[0], arguments).Value);
            case "removeprefix":
                var prefix = Text(arguments.Bind("prefix")[0], arguments).Value;
                return text.Value.StartsWith(prefix, StringComparison.Ordinal) ? text.Substring(prefix.Length, text.Value.Length - prefix.Length) : text;
            case "removesuffix":
                var suffix = Text(arguments.Bind("suffix")[0], arguments).Value;
                return text.Value.EndsWith(suffix, StringComparison.Ordinal) ? text.Substring(0, text.Value.Length - suffix.Length) : text;
            case "zfill":
                var width = Integer(arguments.Bind("width")[0], 0, arguments);
                var sign = text.Value.StartsWith('-') || text.Value.StartsWith('+') ? 1 : 0;
                var zeros = Math.Max(0, width - text.Length);
                budget.Charge(zeros);
                return new TextBuilder(budget).Append(text.Substring(0, sign)).Append(new string('0', (int)zeros))
                    .Append(text.Substring(sign, text.Value.Length - sign)).ToText();
            case "isdigit":
                return All(text.Value, char.IsDigit);
            case "isalpha":
                return All(text.Value, char.IsLetter);
            case "isalnum":
                return All(text.Value, char.IsLetterOrDigit);
            case "isspace":
                return All(text.Value, Texts.IsSpace);
            case "isupper":
                return Texts.IsCased(text.Value, char.IsUpper, char.IsLower);
            default:
                return Texts.IsCased(text.Value, char.IsLower, char.IsUpper);
        }
    }

    private static bool All(string value, Func<char, bool> test) => value.Length > 0 && value.All(test);

    private static object? Given(object? value) => ReferenceEquals(value, Arguments.Missing) ? null : value;

    private static List<string> Affixes(Arguments arguments) => arguments.Bind("prefix")[0] is TemplateList { IsTuple: true } many
        ? many.Items.ConvertAll(a => Text(a, arguments).Value)
        : [Text(arguments.Bind("prefix")[0], arguments).Value];

    private static TemplateText Text(object? value, Arguments arguments) => value as TemplateText
        ?? throw new TemplateException(arguments.Line, $"{arguments.Owner} needs a string, found {(ReferenceEquals(value, Arguments.Missing) ? "nothing" : Values.TypeName(value))}");

    private static TemplateText? OptionalText(object? value, Arguments arguments) => Given(value) is null ? null : Text(value, arguments);

    private static long Integer(object? value, long otherwise, Arguments arguments) => ReferenceEquals(value, Arguments.Missing) ? otherwise
        : Values.AsInteger(value) ?? throw new TemplateException(arguments.Line, $"{arguments.Owner} needs an integer, found {Values.TypeName(value)}");
}

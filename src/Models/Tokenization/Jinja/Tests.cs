namespace LowLevelSpec.Models.Jinja;

/// <summary>What may stand after "is".</summary>
internal static class Tests
{
    public static bool Apply(Interpreter interpreter, string name, object? value, Arguments arguments)
    {
        switch (name)
        {
            case "defined":
                return value is not Undefined;
            case "undefined":
                return value is Undefined;
            case "none":
                return value is null;
            case "boolean":
                return value is bool;
            case "true":
                return value is true;
            case "false":
                return value is false;
            case "string":
                return value is TemplateText;
            case "integer":
                return value is long;
            case "float":
                return value is double;
            case "number":
                return value is long or double or bool;
            case "mapping":
                return value is TemplateDict;
            case "sequence":
                return value is TemplateText or TemplateList or TemplateDict or Undefined;
            case "iterable":
                return value is TemplateText or TemplateList or TemplateDict or Undefined;
            case "callable":
                return value is Callable;
            case "lower":
                return Texts.IsCased(Values.ToText(value, interpreter.Budget).Value, char.IsLower, char.IsUpper);
            case "upper":
                return Texts.IsCased(Values.ToText(value, interpreter.Budget).Value, char.IsUpper, char.IsLower);
            case "odd":
                return Integer(value, arguments) % 2 != 0;
            case "even":
                return Integer(value, arguments) % 2 == 0;
            case "divisibleby":
                return Operators.Binary(interpreter, "%", value, Only(arguments), arguments.Line) is 0L or 0.0;
            case "sameas":
                return Only(arguments) is var same && (value is null or bool ? Equals(value, same) : ReferenceEquals(value, same));
            case "in":
                return Operators.Contains(interpreter.Budget, Only(arguments), value, arguments.Line);
            case "filter":
                return value is TemplateText filter && Filters.Exists(filter.Value);
        }

        var op = name switch
        {
            "eq" or "equalto" or "==" => "==",
            "ne" or "!=" => "!=",
            "lt" or "lessthan" or "<" => "<",
            "le" or "<=" => "<=",
            "gt" or "greaterthan" or ">" => ">",
            "ge" or ">=" => ">=",
            _ => throw new TemplateException(arguments.Line, $"unknown test '{name}'"),
        };
        return Operators.Compare(interpreter, op, value, Only(arguments), arguments.Line);
    }

    private static object? Only(Arguments arguments)
    {
        var value = arguments.Bind("value")[0];
        return ReferenceEquals(value, Arguments.Missing) ? throw new TemplateException(arguments.Line, $"{arguments.Owner} needs a value") : value;
    }

    private static long Integer(object? value, Arguments arguments)
        => Values.AsInteger(value) ?? throw new TemplateException(arguments.Line, $"{arguments.Owner} needs an integer, found {Values.TypeName(value)}");
}

namespace LowLevelSpec.Models.Jinja;

/// <summary>Python's operators.</summary>
internal static class Operators
{
    public static object? Binary(Interpreter interpreter, string op, object? left, object? right, int line)
    {
        var budget = interpreter.Budget;
        switch (op, left, right)
        {
            case ("~", _, _):
                return new TextBuilder(budget).Append(Values.ToText(left, budget)).Append(Values.ToText(right, budget)).ToText();
            case ("+", TemplateText a, TemplateText b):
                return new TextBuilder(budget).Append(a).Append(b).ToText();
            case ("+", TemplateList a, TemplateList b) when a.IsTuple == b.IsTuple:
                budget.ChargeItems(a.Items.Count + b.Items.Count);
                return new TemplateList([.. a.Items, .. b.Items], a.IsTuple);
            case ("*", TemplateText or TemplateList, _) when Values.AsInteger(right) is { } times:
                return Repeat(budget, left, times);
            case ("*", _, TemplateText or TemplateList) when Values.AsInteger(left) is { } times:
                return Repeat(budget, right, times);
            case ("%", TemplateText format, _):
                return Filters.Format(budget, format, right is TemplateList { IsTuple: true } many ? many.Items : [right], line);
        }

        try
        {
            if (Values.AsInteger(left) is { } m && Values.AsInteger(right) is { } n)
            {
                return Integers(op, m, n, line);
            }

            if (Values.AsNumber(left) is { } x && Values.AsNumber(right) is { } y)
            {
                return Floats(op, x, y, line);
            }
        }
        catch (OverflowException)
        {
            throw new TemplateException(line, $"the result of '{op}' is too large");
        }

        throw new TemplateException(line, $"'{op}' cannot be applied to {Values.TypeName(left)} and {Values.TypeName(right)}");
    }

    public static bool Compare(Interpreter interpreter, string op, object? left, object? right, int line)
    {
        var budget = interpreter.Budget;
        switch (op)
        {
            case "==":
                return Values.AreEqual(left, right, budget);
            case "!=":
                return !Values.AreEqual(left, right, budget);
            case "in":
                return Contains(budget, right, left, line);
            case "not in":
                return !Contains(budget, right, left, line);
        }

        var order = Values.Order(left, right, budget)
            ?? throw new TemplateException(line, $"{Values.TypeName(left)} and {Values.TypeName(right)} have no order");
        return op switch
        {
            "<" => order < 0,
            ">" => order > 0,
            "<=" => order <= 0,
            _ => order >= 0,
        };
    }

    public static bool Contains(Budget budget, object? container, object? value, int line)
    {
        switch (container)
        {
            case TemplateText text:
                budget.Charge(text.Value.Length);
                return value is TemplateText part ? text.Value.Contains(part.Value, StringComparison.Ordinal)
                    : throw new TemplateException(line, $"a string cannot contain {Values.TypeName(value)}");
            case TemplateList list:
                return list.Items.Exists(item => Values.AreEqual(item, value, budget));
            case TemplateDict dict:
                return value is TemplateText or long or bool or double && dict.Items.ContainsKey(value);
            case Undefined:
                return false;
            default:
                throw new TemplateException(line, $"{Values.TypeName(container)} cannot contain anything");
        }
    }

    private static object Repeat(Budget budget, object value, long times)
    {
        times = Math.Max(0, times);
        if (value is TemplateText text)
        {
            var builder = new TextBuilder(budget);
            for (long i = 0; text.Value.Length > 0 && i < times; i++)
            {
                builder.Append(text);
            }

            return builder.ToText();
        }

        var list = (TemplateList)value;
        var items = new List<object?>();
        for (long i = 0; list.Items.Count > 0 && i < times; i++)
        {
            budget.ChargeItems(list.Items.Count);
            items.AddRange(list.Items);
        }

        return new TemplateList(items, list.IsTuple);
    }

    private static object Integers(string op, long left, long right, int line)
    {
        if (op is "/" or "//" or "%" && right == 0)
        {
            throw new TemplateException(line, "division by zero");
        }

        return op switch
        {
            "+" => (object)checked(left + right),
            "-" => checked(left - right),
            "*" => checked(left * right),
            "/" => (double)left / right,
            "//" => checked(left / right) - (left % right != 0 && left < 0 != right < 0 ? 1 : 0),
            "%" => right == -1 ? 0L : (left % right + right) % right,
            _ => right < 0 ? Math.Pow(left, right) : (object)Power(left, right),
        };
    }

    private static long Power(long value, long exponent)
    {
        // Beyond 64 squarings only 0, 1 and -1 do not overflow.
        if (value is 0 or 1 or -1)
        {
            return exponent == 0 ? 1 : value == -1 && exponent % 2 == 0 ? 1 : value;
        }

        var result = 1L;
        for (; exponent > 0; exponent--)
        {
            result = checked(result * value);
        }

        return result;
    }

    private static object Floats(string op, double left, double right, int line)
    {
        if (op is "/" or "//" or "%" && right == 0)
        {
            throw new TemplateException(line, "division by zero");
        }

        return op switch
        {
            "+" => left + right,
            "-" => left - right,
            "*" => left * right,
            "/" => left / right,
            "//" => Math.Floor(left / right),
            "%" => left - right * Math.Floor(left / right),
            _ => Math.Pow(left, right),
        };
    }
}

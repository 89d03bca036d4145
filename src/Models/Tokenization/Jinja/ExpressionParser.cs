using System.Globalization;
using System.Runtime.CompilerServices;

namespace LowLevelSpec.Models.Jinja;

/// <summary>Reads a template's expressions, with Jinja's precedence.</summary>
internal abstract class ExpressionParser(List<Token> tokens)
{
    private int _at;

    /// <summary>The token to be read next.</summary>
    protected Token Current => tokens[_at];

    /// <summary>An expression, or a tuple without parentheses.</summary>
    protected Expression Tuple(bool conditional = true)
    {
        var line = Current.Line;
        var items = new List<Expression> { conditional ? Expression() : Or() };
        var tuple = false;
        while (TakeOperator(","))
        {
            tuple = true;
            if (EndsTuple())
            {
                break;
            }

            items.Add(conditional ? Expression() : Or());
        }

        return tuple ? new ListExpression(line, items, IsTuple: true) : items[0];
    }

    /// <summary>An expression.</summary>
    protected Expression Expression()
    {
        CheckDepth();
        var value = Or();
        while (Current is { Kind: TokenKind.Name, Value: "if" })
        {
            var line = Next().Line;
            var test = Or();
            value = new ConditionalExpression(line, test, value, TakeName("else") ? Expression() : null);
        }

        return value;
    }

    /// <summary>Filters with a bar in front, applied to a value (null: to a block's text).</summary>
    protected Expression FilterChain(Expression? target)
    {
        while (TakeOperator("|"))
        {
            target = Filters(target, Current.Line, chain: false);
        }

        return target!;
    }

    /// <summary>A filter and, if asked, those chained after it.</summary>
    protected Expression Filters(Expression? target, int line, bool chain = true)
    {
        var name = DottedName("a filter's name");
        var filter = new FilterExpression(line, target, name, IsOperator("(") ? Arguments() : ArgumentList.None);
        return chain ? FilterChain(filter) : filter;
    }

    protected Token Next() => tokens[_at++];

    protected Token Expect(TokenKind kind, string what) => Current.Kind == kind ? Next() : throw Unexpected(what);

    protected void ExpectOperator(string value)
    {
        if (!TakeOperator(value))
        {
            throw Unexpected($"'{value}'");
        }
    }

    protected bool TakeOperator(string value)
    {
        if (!IsOperator(value))
        {
            return false;
        }

        _at++;
        return true;
    }

    protected bool TakeName(string value)
    {
        if (Current.Kind != TokenKind.Name || Current.Value != value)
        {
            return false;
        }

        _at++;
        return true;
    }

    protected TemplateException Unexpected(string expected)
    {
        var found = Current.Kind switch
        {
            TokenKind.End => "the end of the template",
            TokenKind.BlockEnd => "'%}'",
            TokenKind.OutputEnd => "'}}'",
            TokenKind.BlockBegin or TokenKind.OutputBegin or TokenKind.Text => "the end of a tag",
            _ => $"'{Current.Value}'",
        };
        return new TemplateException(Current.Line, $"found {found}, expected {expected}");
    }

    /// <summary>Fails before deep nesting exhausts the stack.</summary>
    protected void CheckDepth()
    {
        if (!RuntimeHelpers.TryEnsureSufficientExecutionStack())
        {
            throw new TemplateException(Current.Line, "the template is nested too deeply");
        }
    }

    private bool IsOperator(string value) => Current.Kind == TokenKind.Operator && Current.Value == value;

    private bool EndsTuple() => Current.Kind is TokenKind.BlockEnd or TokenKind.OutputEnd or TokenKind.End || IsOperator(")") || IsOperator("=")
        || (Current.Kind == TokenKind.Name && Current.Value is "if" or "in");

    private string DottedName(string what)
    {
        var name = Expect(TokenKind.Name, what).Value;
        while (TakeOperator("."))
        {
            name += "." + Expect(TokenKind.Name, what).Value;
        }

        return name;
    }

    private Expression Or()
    {
        var left = And();
        while (Current is { Kind: TokenKind.Name, Value: "or" })
        {
            left = new BinaryExpression(Next().Line, "or", left, And());
        }

        return left;
    }

    private Expression And()
    {
        var left = Not();
        while (Current is { Kind: TokenKind.Name, Value: "and" })
        {
            left = new BinaryExpression(Next().Line, "and", left, Not());
        }

        return left;
    }

    private Expression Not()
    {
        CheckDepth();
        return Current is { Kind: TokenKind.Name, Value: "not" } ? new UnaryExpression(Next().Line, "not", Not()) : Compare();
    }

    private Expression Compare()
    {
        var line = Current.Line;
        var first = Sum();
        var rest = new List<(string, Expression)>();
        while (true)
        {
            if (Current.Kind == TokenKind.Operator && Current.Value is "==" or "!=" or "<" or ">" or "<=" or ">=")
            {
                rest.Add((Next().Value, Sum()));
            }
            else if (TakeName("in"))
            {
                rest.Add(("in", Sum()));
            }
            else if (Current is { Kind: TokenKind.Name, Value: "not" } && tokens[_at + 1] is { Kind: TokenKind.Name, Value: "in" })
            {
                _at += 2;
                rest.Add(("not in", Sum()));
            }
            else
            {
                return rest.Count == 0 ? first : new CompareExpression(line, first, rest);
            }
        }
    }

    private Expression Sum()
    {
        var left = Concatenation();
        while (IsOperator("+") || IsOperator("-"))
        {
            var op = Next();
            left = new BinaryExpression(op.Line, op.Value, left, Concatenation());
        }

        return left;
    }

    private Expression Concatenation()
    {
        var left = Product();
        while (IsOperator("~"))
        {
            left = new BinaryExpression(Next().Line, "~", left, Product());
        }

        return left;
    }

    private Expression Product()
    {
        var left = Power();
        while (Current.Kind == TokenKind.Operator && Current.Value is "*" or "/" or "//" or "%")
        {
            var op = Next();
            left = new BinaryExpression(op.Line, op.Value, left, Power());
        }

        return left;
    }

    private Expression Power()
    {
        var left = Unary(filters: true);
        while (IsOperator("**"))
        {
            left = new BinaryExpression(Next().Line, "**", left, Unary(filters: true));
        }

        return left;
    }

    private Expression Unary(bool filters)
    {
        CheckDepth();
        Expression value;
        if (IsOperator("-") || IsOperator("+"))
        {
            var op = Next();
            value = new UnaryExpression(op.Line, op.Value, Unary(filters: false));
        }
        else
        {
            value = Primary();
        }

        value = Postfix(value);
        return filters ? FiltersAndTests(value) : value;
    }

    private Expression FiltersAndTests(Expression value)
    {
        while (true)
        {
            if (IsOperator("|"))
            {
                _at++;
                value = Filters(value, Current.Line, chain: false);
            }
            else if (Current is { Kind: TokenKind.Name, Value: "is" })
            {
                _at++;
                value = Test(value);
            }
            else if (IsOperator("("))
            {
                value = new CallExpression(Current.Line, value, Arguments());
            }
            else
            {
                return value;
            }
        }
    }

    private TestExpression Test(Expression target)
    {
        var line = Current.Line;
        var negated = TakeName("not");
        var name = DottedName("a test's name");
        var arguments = ArgumentList.None;
        if (IsOperator("("))
        {
            arguments = Arguments();
        }
        else if ((Current.Kind == TokenKind.Name && Current.Value is not ("else" or "or" or "and" or "is" or "if" or "in" or "not"))
            || Current.Kind is TokenKind.String or TokenKind.Integer or TokenKind.Float || IsOperator("[") || IsOperator("{"))
        {
            arguments = new ArgumentList([Postfix(Primary())], []);
        }

        return new TestExpression(line, target, name, arguments, negated);
    }

    private Expression Postfix(Expression value)
    {
        while (true)
        {
            var line = Current.Line;
            if (TakeOperator("."))
            {
                value = Current.Kind == TokenKind.Integer
                    ? new ItemExpression(line, value, Primary())
                    : new AttributeExpression(line, value, Expect(TokenKind.Name, "an attribute's name").Value);
            }
            else if (TakeOperator("["))
            {
                value = Subscript(line, value);
            }
            else if (IsOperator("("))
            {
                value = new CallExpression(line, value, Arguments());
            }
            else
            {
                return value;
            }
        }
    }

    private Expression Subscript(int line, Expression target)
    {
        var start = IsOperator(":") ? null : Expression();
        if (start is not null && TakeOperator("]"))
        {
            return new ItemExpression(line, target, start);
        }

        ExpectOperator(":");
        var stop = IsOperator(":") || IsOperator("]") ? null : Expression();
        var step = TakeOperator(":") && !IsOperator("]") ? Expression() : null;
        ExpectOperator("]");
        return new SliceExpression(line, target, start, stop, step);
    }

    private ArgumentList Arguments()
    {
        ExpectOperator("(");
        var positional = new List<Expression>();
        var named = new List<(string, Expression)>();
        while (!TakeOperator(")"))
        {
            if (positional.Count + named.Count > 0)
            {
                ExpectOperator(",");
                if (TakeOperator(")"))
                {
                    break;
                }
            }

            if (Current.Kind == TokenKind.Name && tokens[_at + 1] is { Kind: TokenKind.Operator, Value: "=" })
            {
                var name = Next().Value;
                _at++;
                named.Add((name, Expression()));
            }
            else
            {
                positional.Add(named.Count == 0 ? Expression() : throw Unexpected("a named argument"));
            }
        }

        return new ArgumentList(positional, named);
    }

    private Expression Primary()
    {
        var token = Current;
        switch (token.Kind)
        {
            case TokenKind.Name:
                Next();
                return token.Value switch
                {
                    "true" or "True" => new LiteralExpression(token.Line, true),
                    "false" or "False" => new LiteralExpression(token.Line, false),
                    "none" or "None" => new LiteralExpression(token.Line, null),
                    _ => new NameExpression(token.Line, token.Value),
                };
            case TokenKind.String:
                var text = "";
                while (Current.Kind == TokenKind.String)
                {
                    text += Next().Value;
                }

                return new LiteralExpression(token.Line, TemplateText.Own(text));
            case TokenKind.Integer:
                Next();
                return new LiteralExpression(token.Line, long.TryParse(token.Value, NumberStyles.None, CultureInfo.InvariantCulture, out var integer)
                    ? integer
                    : throw new TemplateException(token.Line, $"{token.Value} is too large"));
            case TokenKind.Float:
                Next();
                return new LiteralExpression(token.Line, double.Parse(token.Value, NumberStyles.Float, CultureInfo.InvariantCulture));
            default:
                return TakeOperator("(") ? Parenthesis(token.Line)
                    : TakeOperator("[") ? List(token.Line)
                    : TakeOperator("{") ? Dict(token.Line)
                    : throw Unexpected("a value");
        }
    }

    private Expression Parenthesis(int line)
    {
        if (TakeOperator(")"))
        {
            return new ListExpression(line, [], IsTuple: true);
        }

        var value = Tuple();
        ExpectOperator(")");
        return value;
    }

    private ListExpression List(int line)
    {
        var items = new List<Expression>();
        while (!TakeOperator("]"))
        {
            if (items.Count > 0)
            {
                ExpectOperator(",");
                if (TakeOperator("]"))
                {
                    break;
                }
            }

            items.Add(Expression());
        }

        return new ListExpression(line, items, IsTuple: false);
    }

    private DictExpression Dict(int line)
    {
        var items = new List<(Expression, Expression)>();
        while (!TakeOperator("}"))
        {
            if (items.Count > 0)
            {
                ExpectOperator(",");
                if (TakeOperator("}"))
                {
                    break;
                }
            }

            var key = Expression();
            ExpectOperator(":");
            items.Add((key, Expression()));
        }

        return new DictExpression(line, items);
    }
}

namespace LowLevelSpec.Models.Jinja;

/// <summary>Reads a template's statements.</summary>
internal sealed class Parser : ExpressionParser
{
    private int _loops;

    private Parser(List<Token> tokens) : base(tokens)
    {
    }

    /// <summary>The statements of a template.</summary>
    /// <exception cref="TemplateException">The template is malformed or uses a tag that is not built.</exception>
    public static IReadOnlyList<Statement> Parse(string source)
    {
        var parser = new Parser(Lexer.Tokenize(source));
        var body = parser.Body();
        return parser.Current.Kind == TokenKind.End ? body : throw parser.Unexpected("a tag that opens something");
    }

    /// <summary>Statements up to one of the closing tags, whose name is then the current token, or up to the end.</summary>
    private List<Statement> Body(params ReadOnlySpan<string> closing)
    {
        CheckDepth();
        var body = new List<Statement>();
        while (true)
        {
            var token = Current;
            switch (token.Kind)
            {
                case TokenKind.Text:
                    Next();
                    body.Add(new TextStatement(token.Line, TemplateText.Own(token.Value)));
                    break;
                case TokenKind.OutputBegin:
                    Next();
                    body.Add(new OutputStatement(token.Line, Tuple()));
                    Expect(TokenKind.OutputEnd, "'}}'");
                    break;
                case TokenKind.BlockBegin:
                    Next();
                    if (Current.Kind != TokenKind.Name)
                    {
                        throw Unexpected("a tag's name");
                    }

                    if (closing.Contains(Current.Value))
                    {
                        return body;
                    }

                    if (Block() is { } statement)
                    {
                        body.Add(statement);
                    }

                    break;
                default:
                    return closing.IsEmpty ? body : throw Unexpected($"'{{% {closing[^1]} %}}'");
            }
        }
    }

    private Statement? Block()
    {
        var line = Current.Line;
        var name = Next().Value;
        switch (name)
        {
            case "if":
                return If(line);
            case "for":
                return For(line);
            case "set":
                return Set(line);
            case "macro":
                return Macro(line);
            case "filter":
                var filter = Filters(null, line);
                return new FilterStatement(line, filter, BlockBody("endfilter"));
            case "with":
                return With(line);
            case "generation":
                // Hugging Face marks the assistant's text with this tag; it prints its body.
                return new ScopeStatement(line, [], BlockBody("endgeneration"));
            case "break" or "continue" when _loops > 0:
                EndBlock();
                return new JumpStatement(line, name == "break");
            default:
                throw new TemplateException(line, name is "break" or "continue"
                    ? $"'{name}' outside a loop"
                    : $"unknown tag '{name}'; supported: if, for, set, macro, filter, with, generation, raw, break, continue");
        }
    }

    private void EndBlock() => Expect(TokenKind.BlockEnd, "'%}'");

    private List<Statement> BlockBody(string closing)
    {
        EndBlock();
        var body = Body(closing);
        Next();
        EndBlock();
        return body;
    }

    private IfStatement If(int line)
    {
        var branches = new List<(Expression, IReadOnlyList<Statement>)>();
        List<Statement> otherwise = [];
        while (true)
        {
            var test = Tuple();
            EndBlock();
            branches.Add((test, Body("elif", "else", "endif")));
            var closing = Next().Value;
            if (closing == "elif")
            {
                continue;
            }

            if (closing == "else")
            {
                otherwise = BlockBody("endif");
            }
            else
            {
                EndBlock();
            }

            return new IfStatement(line, branches, otherwise);
        }
    }

    private ForStatement For(int line)
    {
        var target = Target();
        if (!TakeName("in"))
        {
            throw Unexpected("'in'");
        }

        // The "if" here filters the items, it does not start a conditional expression.
        var items = Tuple(conditional: false);
        var filter = TakeName("if") ? Expression() : null;
        if (Current is { Kind: TokenKind.Name, Value: "recursive" })
        {
            throw new TemplateException(line, "recursive loops are not supported");
        }

        EndBlock();
        _loops++;
        var body = Body("else", "endfor");
        _loops--;
        List<Statement> otherwise = [];
        if (Next().Value == "else")
        {
            otherwise = BlockBody("endfor");
        }
        else
        {
            EndBlock();
        }

        return new ForStatement(line, target, items, filter, body, otherwise);
    }

    private Statement Set(int line)
    {
        var target = Target(attributes: true);
        if (TakeOperator("="))
        {
            var value = Tuple();
            EndBlock();
            return new SetStatement(line, target, value);
        }

        var filter = Current is { Kind: TokenKind.Operator, Value: "|" } ? FilterChain(null) : null;
        return new SetBlockStatement(line, target, filter, BlockBody("endset"));
    }

    private MacroStatement Macro(int line)
    {
        var name = Expect(TokenKind.Name, "the macro's name").Value;
        ExpectOperator("(");
        var parameters = new List<(string, Expression?)>();
        while (!TakeOperator(")"))
        {
            if (parameters.Count > 0)
            {
                ExpectOperator(",");
            }

            var parameter = Expect(TokenKind.Name, "a parameter's name").Value;
            parameters.Add((parameter, TakeOperator("=") ? Expression() : null));
        }

        // A loop around the macro is not the macro's own.
        var loops = _loops;
        _loops = 0;
        var body = BlockBody("endmacro");
        _loops = loops;
        return new MacroStatement(line, name, parameters, body);
    }

    private ScopeStatement With(int line)
    {
        var values = new List<(AssignmentTarget, Expression)>();
        while (Current.Kind != TokenKind.BlockEnd)
        {
            if (values.Count > 0)
            {
                ExpectOperator(",");
            }

            var target = Target(single: true);
            ExpectOperator("=");
            values.Add((target, Expression()));
        }

        return new ScopeStatement(line, values, BlockBody("endwith"));
    }

    private AssignmentTarget Target(bool attributes = false, bool single = false)
    {
        var parts = new List<AssignmentTarget> { TargetPart(attributes) };
        var tuple = false;
        while (!single && TakeOperator(","))
        {
            tuple = true;
            if (Current.Kind == TokenKind.Name && Current.Value != "in" || Current is { Kind: TokenKind.Operator, Value: "(" })
            {
                parts.Add(TargetPart(attributes));
            }
        }

        return tuple ? new AssignmentTarget("", null, parts) : parts[0];
    }

    private AssignmentTarget TargetPart(bool attributes)
    {
        CheckDepth();
        if (TakeOperator("("))
        {
            var inner = Target(attributes);
            ExpectOperator(")");
            return inner;
        }

        var name = Expect(TokenKind.Name, "a variable's name").Value;
        if (name is "true" or "false" or "none" or "True" or "False" or "None")
        {
            throw new TemplateException(Current.Line, $"'{name}' cannot be assigned to");
        }

        return new AssignmentTarget(name, attributes && TakeOperator(".") ? Expect(TokenKind.Name, "an attribute's name").Value : null, null);
    }
}

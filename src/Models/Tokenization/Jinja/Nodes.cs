namespace LowLevelSpec.Models.Jinja;

/// <summary>A part of a template, with its line.</summary>
internal abstract record Node(int Line);

/// <summary>A part that has a value.</summary>
internal abstract record Expression(int Line) : Node(Line);

internal sealed record LiteralExpression(int Line, object? Value) : Expression(Line);

internal sealed record NameExpression(int Line, string Name) : Expression(Line);

internal sealed record ListExpression(int Line, IReadOnlyList<Expression> Items, bool IsTuple) : Expression(Line);

internal sealed record DictExpression(int Line, IReadOnlyList<(Expression Key, Expression Value)> Items) : Expression(Line);

internal sealed record AttributeExpression(int Line, Expression Target, string Name) : Expression(Line);

internal sealed record ItemExpression(int Line, Expression Target, Expression Index) : Expression(Line);

internal sealed record SliceExpression(int Line, Expression Target, Expression? Start, Expression? Stop, Expression? Step) : Expression(Line);

internal sealed record CallExpression(int Line, Expression Target, ArgumentList Arguments) : Expression(Line);

internal sealed record FilterExpression(int Line, Expression? Target, string Name, ArgumentList Arguments) : Expression(Line);

internal sealed record TestExpression(int Line, Expression Target, string Name, ArgumentList Arguments, bool Negated) : Expression(Line);

internal sealed record UnaryExpression(int Line, string Operator, Expression Operand) : Expression(Line);

internal sealed record BinaryExpression(int Line, string Operator, Expression Left, Expression Right) : Expression(Line);

internal sealed record CompareExpression(int Line, Expression First, IReadOnlyList<(string Operator, Expression Operand)> Rest) : Expression(Line);

internal sealed record ConditionalExpression(int Line, Expression Test, Expression Then, Expression? Else) : Expression(Line);

/// <summary>Arguments of a call, filter or test.</summary>
internal sealed record ArgumentList(IReadOnlyList<Expression> Positional, IReadOnlyList<(string Name, Expression Value)> Named)
{
    public static readonly ArgumentList None = new([], []);
}

/// <summary>A part that does something.</summary>
internal abstract record Statement(int Line) : Node(Line);

internal sealed record TextStatement(int Line, TemplateText Text) : Statement(Line);

internal sealed record OutputStatement(int Line, Expression Value) : Statement(Line);

internal sealed record IfStatement(int Line, IReadOnlyList<(Expression Test, IReadOnlyList<Statement> Body)> Branches, IReadOnlyList<Statement> Else) : Statement(Line);

internal sealed record ForStatement(
    int Line, AssignmentTarget Target, Expression Items, Expression? Filter, IReadOnlyList<Statement> Body, IReadOnlyList<Statement> Else) : Statement(Line);

internal sealed record SetStatement(int Line, AssignmentTarget Target, Expression Value) : Statement(Line);

internal sealed record SetBlockStatement(int Line, AssignmentTarget Target, Expression? Filter, IReadOnlyList<Statement> Body) : Statement(Line);

internal sealed record MacroStatement(int Line, string Name, IReadOnlyList<(string Name, Expression? Default)> Parameters, IReadOnlyList<Statement> Body) : Statement(Line);

internal sealed record FilterStatement(int Line, Expression Filter, IReadOnlyList<Statement> Body) : Statement(Line);

internal sealed record ScopeStatement(int Line, IReadOnlyList<(AssignmentTarget Target, Expression Value)> Values, IReadOnlyList<Statement> Body) : Statement(Line);

internal sealed record JumpStatement(int Line, bool IsBreak) : Statement(Line);

/// <summary>Where a value goes: a name, a name's attribute (of a namespace), or several of them.</summary>
internal sealed record AssignmentTarget(string Name, string? Attribute, IReadOnlyList<AssignmentTarget>? Parts);

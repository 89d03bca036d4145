namespace LowLevelSpec.Models.Jinja;

/// <summary>Runs a template's statements.</summary>
internal sealed partial class Interpreter
{
    private const int MaxMacroDepth = 100;

    private readonly Budget _budget;
    private TextBuilder _output;
    private int _macroDepth;

    private Interpreter(Budget budget)
    {
        _budget = budget;
        _output = new TextBuilder(budget);
    }

    private enum Flow
    {
        Next,
        Break,
        Continue,
    }

    /// <summary>The text of a template.</summary>
    /// <param name="template">The template's statements.</param>
    /// <param name="variables">The variables it sees.</param>
    /// <param name="now">The time that strftime_now shows.</param>
    /// <param name="units">How much work it may do.</param>
    /// <exception cref="TemplateException">The template fails or refuses.</exception>
    public static TemplateText Run(IReadOnlyList<Statement> template, IEnumerable<KeyValuePair<string, object?>> variables, DateTime now, long units)
    {
        var interpreter = new Interpreter(new Budget(units));
        var scope = new Scope(null);
        interpreter.AddGlobals(scope, now);
        foreach (var (name, value) in variables)
        {
            scope.Set(name, value);
        }

        interpreter.Execute(template, new Scope(scope));
        return interpreter._output.ToText();
    }

    private Flow Execute(IReadOnlyList<Statement> statements, Scope scope)
    {
        Values.CheckDepth(_budget);
        foreach (var statement in statements)
        {
            _budget.Line = statement.Line;
            _budget.Charge(1);
            var flow = Execute(statement, scope);
            if (flow != Flow.Next)
            {
                return flow;
            }
        }

        return Flow.Next;
    }

    private Flow Execute(Statement statement, Scope scope)
    {
        switch (statement)
        {
            case TextStatement text:
                _output.Append(text.Text);
                break;
            case OutputStatement output:
                _output.Append(Values.ToText(Evaluate(output.Value, scope), _budget));
                break;
            case IfStatement branch:
                foreach (var (test, body) in branch.Branches)
                {
                    if (Values.IsTrue(Evaluate(test, scope)))
                    {
                        return Execute(body, scope);
                    }
                }

                return Execute(branch.Else, scope);
            case ForStatement loop:
                return Loop(loop, scope);
            case SetStatement set:
                Assign(set.Target, Evaluate(set.Value, scope), scope, set.Line);
                break;
            case SetBlockStatement set:
                object? captured = Capture(set.Body, new Scope(scope));
                Assign(set.Target, set.Filter is null ? captured : EvaluateFilter(set.Filter, captured, scope), scope, set.Line);
                break;
            case FilterStatement filter:
                _output.Append(Values.ToText(EvaluateFilter(filter.Filter, Capture(filter.Body, new Scope(scope)), scope), _budget));
                break;
            case ScopeStatement inner:
                var own = new Scope(scope);
                foreach (var (target, value) in inner.Values)
                {
                    Assign(target, Evaluate(value, scope), own, inner.Line);
                }

                return Execute(inner.Body, own);
            case MacroStatement macro:
                scope.Set(macro.Name, new Callable(macro.Name, arguments => CallMacro(macro, arguments, scope)));
                break;
            case JumpStatement jump:
                return jump.IsBreak ? Flow.Break : Flow.Continue;
        }

        return Flow.Next;
    }

    private Flow Loop(ForStatement loop, Scope scope)
    {
        var items = Iterate(Evaluate(loop.Items, scope), loop.Line);
        if (loop.Filter is not null)
        {
            items = items.FindAll(item =>
            {
                var inner = new Scope(scope);
                Assign(loop.Target, item, inner, loop.Line);
                _budget.Charge(1);
                return Values.IsTrue(Evaluate(loop.Filter, inner));
            });
        }

        if (items.Count == 0)
        {
            return Execute(loop.Else, new Scope(scope));
        }

        var state = new LoopValue(items);
        for (var i = 0; i < items.Count; i++)
        {
            _budget.Charge(1);
            state.Index = i;
            var inner = new Scope(scope);
            inner.Set("loop", state);
            Assign(loop.Target, items[i], inner, loop.Line);
            if (Execute(loop.Body, inner) == Flow.Break)
            {
                break;
            }
        }

        return Flow.Next;
    }

    private TemplateText Capture(IReadOnlyList<Statement> body, Scope scope)
    {
        var outer = _output;
        _output = new TextBuilder(_budget);
        try
        {
            Execute(body, scope);
            return _output.ToText();
        }
        finally
        {
            _output = outer;
        }
    }

    private TemplateText CallMacro(MacroStatement macro, Arguments arguments, Scope definedIn)
    {
        if (_macroDepth >= MaxMacroDepth)
        {
            throw new TemplateException(arguments.Line, $"macros call each other more than {MaxMacroDepth} deep");
        }

        var values = arguments.Bind([.. macro.Parameters.Select(p => p.Name)]);
        var scope = new Scope(definedIn);
        for (var i = 0; i < values.Length; i++)
        {
            var (name, otherwise) = macro.Parameters[i];
            scope.Set(name, !ReferenceEquals(values[i], Arguments.Missing) ? values[i]
                : otherwise is null ? new Undefined($"parameter '{name}' was not provided") : Evaluate(otherwise, scope));
        }

        _macroDepth++;
        try
        {
            return Capture(macro.Body, scope);
        }
        finally
        {
            _macroDepth--;
        }
    }

    private void Assign(AssignmentTarget target, object? value, Scope scope, int line)
    {
        if (target.Parts is { } parts)
        {
            var items = Iterate(value, line);
            if (items.Count != parts.Count)
            {
                throw new TemplateException(line, $"{items.Count} values cannot be assigned to {parts.Count} names");
            }

            for (var i = 0; i < parts.Count; i++)
            {
                Assign(parts[i], items[i], scope, line);
            }
        }
        else if (target.Attribute is null)
        {
            scope.Set(target.Name, value);
        }
        else if (scope.Get(target.Name) is NamespaceValue space)
        {
            space.Attributes[target.Attribute] = value;
        }
        else
        {
            throw new TemplateException(line, $"'{target.Name}' is not a namespace, so its attribute '{target.Attribute}' cannot be set");
        }
    }

    /// <summary>The items of a value, as a for loop sees them.</summary>
    internal List<object?> Iterate(object? value, int line)
    {
        List<object?> items = value switch
        {
            TemplateList list => list.Items,
            TemplateDict dict => [.. dict.Items.Keys],
            TemplateText text => [.. text.Characters()],
            Undefined => [],
            _ => throw new TemplateException(line, $"{Values.TypeName(value)} cannot be iterated"),
        };
        _budget.Charge(items.Count);
        if (value is TemplateText)
        {
            _budget.ChargeItems(items.Count);
        }

        return items;
    }

    /// <summary>Variables of one block, within those of the block around it.</summary>
    private sealed class Scope(Scope? outer)
    {
        private Dictionary<string, object?>? _own;

        public void Set(string name, object? value) => (_own ??= [])[name] = value;

        public object? Get(string name)
        {
            for (var scope = this; scope is not null; scope = scope.Outer)
            {
                if (scope._own is not null && scope._own.TryGetValue(name, out var value))
                {
                    return value;
                }
            }

            return new Undefined($"'{name}' is undefined");
        }

        private Scope? Outer { get; } = outer;
    }
}

/// <summary>The variable "loop".</summary>
internal sealed class LoopValue(List<object?> items)
{
    private object? _last = Arguments.Missing;

    public int Index { get; set; }

    public object? Attribute(string name, Budget budget) => name switch
    {
        "index" => (long)Index + 1,
        "index0" => (long)Index,
        "revindex" => (long)items.Count - Index,
        "revindex0" => (long)items.Count - Index - 1,
        "first" => Index == 0,
        "last" => Index == items.Count - 1,
        "length" => (long)items.Count,
        "previtem" => Index > 0 ? items[Index - 1] : new Undefined("there is no previous item"),
        "nextitem" => Index + 1 < items.Count ? items[Index + 1] : new Undefined("there is no next item"),
        "cycle" => new Callable("loop.cycle", arguments => arguments.Positional.Count > 0
            ? arguments.Positional[Index % arguments.Positional.Count]
            : throw new TemplateException(arguments.Line, "loop.cycle needs values")),
        "changed" => new Callable("loop.changed", arguments =>
        {
            var value = new TemplateList([.. arguments.Positional], IsTuple: true);
            var changed = ReferenceEquals(_last, Arguments.Missing) || !Values.AreEqual(_last, value, budget);
            _last = value;
            return changed;
        }),
        _ => new Undefined($"'loop' has no attribute '{name}'"),
    };
}

using System.Globalization;
using System.Text;

namespace LowLevelSpec.Models.Jinja;

/// <summary>The tojson filter as Hugging Face defines it: Python's json.dumps without HTML escapes and without ASCII escapes.</summary>
internal sealed class Json(TextBuilder output, Budget budget, string? indent, string itemSeparator, string keySeparator, bool sortKeys, bool ascii)
{
    public void Write(object? value, int depth = 0)
    {
        Values.CheckDepth(budget);
        switch (value)
        {
            case null:
                output.Append("null");
                break;
            case bool flag:
                output.Append(flag ? "true" : "false");
                break;
            case long integer:
                output.Append(integer.ToString(CultureInfo.InvariantCulture));
                break;
            case double real:
                output.Append(Values.FloatText(real) switch { "nan" => "NaN", "inf" => "Infinity", "-inf" => "-Infinity", var text => text });
                break;
            case TemplateText text:
                output.Append(Quote(text));
                break;
            case TemplateList list:
                Items('[', ']', list.Items, depth, Write);
                break;
            case TemplateDict dict:
                var pairs = dict.Items.ToList();
                if (sortKeys)
                {
                    pairs = ListFilters.StableSort(pairs, (a, b) => Values.Order(a.Key, b.Key, budget)
                        ?? throw new TemplateException(budget.Line, "tojson cannot sort keys of different types"));
                }

                Items('{', '}', pairs, depth, (pair, inner) =>
                {
                    output.Append(pair.Key switch
                    {
                        TemplateText key => Quote(key),
                        bool key => TemplateText.Own(key ? "\"true\"" : "\"false\""),
                        _ => TemplateText.Own($"\"{Values.ToText(pair.Key, budget).Value}\""),
                    });
                    output.Append(keySeparator);
                    Write(pair.Value, inner);
                });
                break;
            default:
                throw new TemplateException(budget.Line, $"tojson cannot write {Values.TypeName(value)}");
        }
    }

    private void Items<T>(char open, char close, List<T> items, int depth, Action<T, int> write)
    {
        output.Append(open.ToString());
        for (var i = 0; i < items.Count; i++)
        {
            output.Append(i > 0 ? itemSeparator : "");
            NewLine(depth + 1);
            write(items[i], depth + 1);
        }

        if (items.Count > 0)
        {
            NewLine(depth);
        }

        output.Append(close.ToString());
    }

    private void NewLine(int depth)
    {
        if (indent is not null)
        {
            budget.Charge((long)indent.Length * depth);
            output.Append("\n" + new StringBuilder().Insert(0, indent, depth));
        }
    }

    private TemplateText Quote(TemplateText text)
    {
        var quoted = new StringBuilder(text.Value.Length + 2).Append('"');
        foreach (var c in text.Value)
        {
            _ = c switch
            {
                '"' => quoted.Append("\\\""),
                '\\' => quoted.Append("\\\\"),
                '\n' => quoted.Append("\\n"),
                '\r' => quoted.Append("\\r"),
                '\t' => quoted.Append("\\t"),
                '\b' => quoted.Append("\\b"),
                '\f' => quoted.Append("\\f"),
                < ' ' => quoted.Append($"\\u{(int)c:x4}"),
                > '~' when ascii => quoted.Append($"\\u{(int)c:x4}"),
                _ => quoted.Append(c),
            };
        }

        return text.DeriveWhole(quoted.Append('"').ToString());
    }
}

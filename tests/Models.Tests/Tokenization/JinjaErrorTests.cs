using LowLevelSpec.Models.Jinja;
using Xunit;

namespace LowLevelSpec.Models.Tests.Tokenization;

public class JinjaErrorTests
{
    public static TheoryData<string, int, string> Wrong => new()
    {
        { "a\n{{ raise_exception('no way') }}", 2, "no way" },
        { "{{ foo.bar }}", 1, "'foo' is undefined" },
        { "\n\n{{ 1 + 'a' }}", 3, "'+' cannot be applied" },
        { "{{ foo() }}", 1, "cannot be called" },
        { "{{ 'a' < 1 }}", 1, "no order" },
        { "{{ [3, 'a']|sort }}", 1, "no order" },
        { "{{ {1: 1, 'a': 2}|tojson(sort_keys=true) }}", 1, "different types" },
        { "{{ 1 // 0 }}", 1, "division by zero" },
        { "{{ 9223372036854775807 + 1 }}", 1, "too large" },
        { "{{ 99999999999999999999 }}", 1, "too large" },
        { "{{ x|nofilter }}", 1, "unknown filter 'nofilter'" },
        { "{{ 1 is nope }}", 1, "unknown test 'nope'" },
        { "{{ ''|replace('a') }}", 1, "missing" },
        { "{{ 'a'.strip(1) }}", 1, "needs a string" },
        { "{{ 'a'|trim(x=1) }}", 1, "no argument 'x'" },
        { "{{ messages|tojson(1, 2, 3, 4, 5) }}", 1, "at most 4" },
        { "{% if %}", 1, "expected a value" },
        { "{% for %}", 1, "a variable's name" },
        { "{% endif %}", 1, "unknown tag 'endif'" },
        { "{% if true %}\n{% for x in [] %}\n{% endif %}", 3, "endif" },
        { "{% if true %}x", 1, "endif" },
        { "{{ 'abc }}", 1, "a string is not closed" },
        { "{{ [1, 2 }}", 1, "unexpected '}'" },
        { "{{ 1", 1, "a tag is not closed" },
        { "\n{# comment", 2, "a comment is not closed" },
        { "{% raw %}", 1, "'raw' is not closed" },
        { "{{ $ }}", 1, "unexpected character '$'" },
        { "{% include 'x' %}", 1, "unknown tag 'include'" },
        { "{% for x in [] recursive %}{% endfor %}", 1, "recursive" },
        { "{% for x in 5 %}{% endfor %}", 1, "cannot be iterated" },
        { "{% for a, b in [(1, 2, 3)] %}{% endfor %}", 1, "3 values cannot be assigned to 2 names" },
        { "{% set messages.y = 1 %}", 1, "is not a namespace" },
        { "{% set true = 1 %}", 1, "cannot be assigned to" },
        { "{% break %}", 1, "outside a loop" },
        { "{{ f(a=1, 2) }}", 1, "a named argument" },
        { "{{ messages[0](1) }}", 1, "cannot be called" },
        { "{{ 'a'['b':] }}", 1, "a slice's bound" },
        { "{{ 'a'[::0] }}", 1, "step" },
        { "{{ 'a' in 5 }}", 1, "cannot contain" },
        { "{{ {[]: 1} }}", 1, "cannot be a key" },
        { "{{ range(1, 2, 0)|list }}", 1, "range" },
        { "{{ strftime_now('%Q') }}", 1, "%Q" },
        { "{{ '%f' % 1 }}", 1, "%f" },
        { "{{ cycler('a') }}", 1, "'cycler' is undefined" },
    };

    // Each would hang, exhaust memory or overflow the stack if nothing stopped it.
    public static TheoryData<string> Hostile => new()
    {
        "{% for i in range(1000000000000) %}{% endfor %}",
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{{ 'a' * 1000000000000 }}",
        "{{ [1] * 1000000000000 }}",
        "{% set ns = namespace(s='a') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "{% set ns = namespace(s=[1]) %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "{% set ns = namespace(s='a') %}{% for i in range(100) %}{% set ns.s = ns.s|replace('a', 'aaaa') %}{% endfor %}",
        "{% set ns = namespace(s='a') %}{% for i in range(100) %}{% set ns.s = ns.s|tojson %}{% endfor %}",
        "{{ 'a'|indent(1000000000000) }}{{ ''.zfill(1000000000000) }}",
        "{{ [1]|tojson(indent=1000000000000) }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% macro f(n) %}{{ f(n - 1) if n > 0 }}{{ f(n - 1) if n > 0 }}{% endmacro %}{{ f(60) }}",
        "{% set ns = namespace(l=[]) %}{% for i in range(200000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
        "{% set ns = namespace(l=[]) %}{% for i in range(200000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l|tojson }}",
        "{% set ns = namespace(l=[], m=[]) %}{% for i in range(200000) %}{% set ns.l = [ns.l] %}{% set ns.m = [ns.m] %}{% endfor %}{{ ns.l == ns.m }}",
        "{{ " + new string('(', 200_000) + "1" + new string(')', 200_000) + " }}",
        "{{ " + string.Concat(Enumerable.Repeat("-", 200_000)) + "1 }}",
        "{{ 1" + string.Concat(Enumerable.Repeat("+1", 200_000)) + " }}",
        "{{ x" + string.Concat(Enumerable.Repeat("|trim", 100_000)) + " }}",
        string.Concat(Enumerable.Repeat("{% if true %}", 50_000)),
        "{{ 2 ** 1000000000000 }}",
        "{% set s = 'a' * 1000000 %}{% for i in range(1000000) %}{{ s[i] == s and s in s }}{% endfor %}",
    };

    [Theory]
    [MemberData(nameof(Wrong))]
    public void A_wrong_template_is_refused_by_line(string template, int line, string named)
    {
        var failure = Assert.Throws<TemplateException>(() => JinjaRunner.Run(template));
        Assert.Contains(named, failure.Message, StringComparison.Ordinal);
        Assert.Equal(line, failure.Line);
    }

    [Theory]
    [MemberData(nameof(Hostile))]
    public void A_hostile_template_is_stopped(string template) => Assert.Throws<TemplateException>(() => JinjaRunner.Run(template));

    [Theory]
    [InlineData("%d %b %Y", "05 Mar 2024")]
    [InlineData("%Y-%m-%d %H:%M:%S", "2024-03-05 07:08:09")]
    [InlineData("%-d %B %y %I %p %A %a %j %%", "5 March 24 07 AM Tuesday Tue 065 %")]
    public void Dates_are_written_as_Python_does(string format, string expected) => Assert.Equal(expected, JinjaRunner.Run($"{{{{ strftime_now('{format}') }}}}"));
}

/// <summary>Runs a template on a fixed conversation.</summary>
internal static class JinjaRunner
{
    public static readonly ChatMessage[] Messages = [new("user", " Hi <b> 😀 "), new("assistant", "Yo\nline2"), new("user", "é end")];

    public static string Run(string template)
    {
        var messages = new List<object?>();
        foreach (var message in Messages)
        {
            var dict = new TemplateDict();
            dict.Items[TemplateText.Own("role")] = TemplateText.FromOutside(message.Role);
            dict.Items[TemplateText.Own("content")] = TemplateText.FromOutside(message.Content);
            messages.Add(dict);
        }

        var variables = new Dictionary<string, object?>
        {
            ["messages"] = new TemplateList(messages),
            ["tools"] = null,
            ["documents"] = null,
            ["add_generation_prompt"] = true,
            ["bos_token"] = TemplateText.Own("<s>"),
            ["eos_token"] = TemplateText.Own("</s>"),
        };
        return Interpreter.Run(Parser.Parse(template), variables, new DateTime(2024, 3, 5, 7, 8, 9), 1 << 22).Value;
    }
}

using System.Globalization;
using System.Text;

namespace LowLevelSpec.Models.Jinja;

internal enum TokenKind
{
    /// <summary>Text between tags.</summary>
    Text,
    BlockBegin,
    BlockEnd,
    OutputBegin,
    OutputEnd,
    Name,
    String,
    Integer,
    Float,
    Operator,
    End,
}

internal readonly record struct Token(TokenKind Kind, string Value, int Line);

/// <summary>Cuts a template into tokens, with trim_blocks and lstrip_blocks on as Hugging Face sets them.</summary>
internal sealed class Lexer
{
    private static readonly string[] Operators =
        ["**", "//", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";"];

    private readonly string _source;
    private readonly List<Token> _tokens = [];
    private int _at;
    private int _line = 1;

    private Lexer(string source) => _source = source;

    /// <summary>The tokens of a template, closed by <see cref="TokenKind.End"/>.</summary>
    public static List<Token> Tokenize(string source)
    {
        source = source.Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');

        // One line end at the end of the file belongs to the file, not to the template.
        var lexer = new Lexer(source.EndsWith('\n') ? source[..^1] : source);
        lexer.Run();
        return lexer._tokens;
    }

    private void Run()
    {
        while (_at < _source.Length)
        {
            var open = FindOpen(_at);
            if (open < 0)
            {
                AddText(_source[_at..]);
                _at = _source.Length;
                break;
            }

            var kind = _source[open + 1];
            var sign = open + 2 < _source.Length && _source[open + 2] is '-' or '+' ? _source[open + 2] : ' ';
            AddText(StripBefore(_source[_at..open], sign, kind != '{'));
            Advance(open + (sign == ' ' ? 2 : 3));
            switch (kind)
            {
                case '#':
                    SkipComment();
                    break;
                case '%' when TryRaw():
                    break;
                default:
                    _tokens.Add(new Token(kind == '%' ? TokenKind.BlockBegin : TokenKind.OutputBegin, "", _line));
                    Tag(kind == '%' ? "%}" : "}}");
                    break;
            }
        }

        _tokens.Add(new Token(TokenKind.End, "", _line));
    }

    private int FindOpen(int from)
    {
        for (var at = from; (at = _source.IndexOf('{', at)) >= 0 && at + 1 < _source.Length; at++)
        {
            if (_source[at + 1] is '{' or '%' or '#')
            {
                return at;
            }
        }

        return -1;
    }

    // '-' takes all white space before the tag; lstrip_blocks takes what stands between the line's start and a block or comment.
    private string StripBefore(string text, char sign, bool block)
    {
        if (sign == '-')
        {
            return text.TrimEnd();
        }

        if (sign == '+' || !block)
        {
            return text;
        }

        var lineStart = text.LastIndexOf('\n') + 1;
        var startsLine = lineStart > 0 || _at == 0 || _source[_at - 1] == '\n';
        return startsLine && text.AsSpan(lineStart).IsWhiteSpace() ? text[..lineStart] : text;
    }

    private void AddText(string text)
    {
        if (text.Length > 0)
        {
            _tokens.Add(new Token(TokenKind.Text, text, _line));
        }
    }

    private void Advance(int to)
    {
        _line += _source.AsSpan(_at, to - _at).Count('\n');
        _at = to;
    }

    // After a tag: '-' takes all white space, trim_blocks one line end after a block or comment, '+' nothing.
    private void Close(int at, char sign, bool block)
    {
        at += 2;
        if (sign == '-')
        {
            while (at < _source.Length && char.IsWhiteSpace(_source[at]))
            {
                at++;
            }
        }
        else if (block && sign != '+' && at < _source.Length && _source[at] == '\n')
        {
            at++;
        }

        Advance(at);
    }

    private void SkipComment()
    {
        var end = _source.IndexOf("#}", _at, StringComparison.Ordinal);
        if (end < 0)
        {
            throw new TemplateException(_line, "a comment is not closed, expected '#}'");
        }

        Close(end, end > _at && _source[end - 1] is '-' or '+' ? _source[end - 1] : ' ', block: true);
    }

    private bool TryRaw()
    {
        if (!MatchWordTag(_at, "raw", out var close, out var sign))
        {
            return false;
        }

        // The line end after the opening raw tag is part of the raw text.
        Close(close, sign, block: false);
        for (var open = _at; (open = _source.IndexOf("{%", open, StringComparison.Ordinal)) >= 0; open += 2)
        {
            var before = open + 2 < _source.Length && _source[open + 2] is '-' or '+' ? _source[open + 2] : ' ';
            if (MatchWordTag(open + (before == ' ' ? 2 : 3), "endraw", out close, out sign))
            {
                AddText(StripBefore(_source[_at..open], before, block: true));
                Close(close, sign, block: true);
                return true;
            }
        }

        throw new TemplateException(_line, "'raw' is not closed, expected '{% endraw %}'");
    }

    private bool MatchWordTag(int at, string word, out int close, out char sign)
    {
        sign = ' ';
        close = SkipSpace(at);
        if (string.CompareOrdinal(_source, close, word, 0, word.Length) != 0)
        {
            return false;
        }

        close = SkipSpace(close + word.Length);
        if (close < _source.Length && _source[close] is '-' or '+')
        {
            sign = _source[close++];
        }

        return string.CompareOrdinal(_source, close, "%}", 0, 2) == 0;
    }

    private int SkipSpace(int at)
    {
        while (at < _source.Length && char.IsWhiteSpace(_source[at]))
        {
            at++;
        }

        return at;
    }

    private void Tag(string close)
    {
        // Brackets keep "}}" inside a dictionary from closing the tag.
        var open = new Stack<char>();
        while (true)
        {
            Advance(SkipSpace(_at));
            if (_at >= _source.Length)
            {
                throw new TemplateException(_line, $"a tag is not closed, expected '{close}'");
            }

            var sign = _source[_at] is '-' or '+' ? _source[_at] : ' ';
            var end = sign == ' ' ? _at : _at + 1;
            if (open.Count == 0 && string.CompareOrdinal(_source, end, close, 0, 2) == 0 && !(sign == '+' && close == "}}"))
            {
                _tokens.Add(new Token(close == "%}" ? TokenKind.BlockEnd : TokenKind.OutputEnd, "", _line));
                Close(end, sign, block: close == "%}");
                return;
            }

            var c = _source[_at];
            if (char.IsAsciiDigit(c))
            {
                Number();
            }
            else if (c is '"' or '\'')
            {
                String(c);
            }
            else if (c == '_' || char.IsLetter(c))
            {
                var stop = _at;
                while (stop < _source.Length && (_source[stop] == '_' || char.IsLetterOrDigit(_source[stop])))
                {
                    stop++;
                }

                _tokens.Add(new Token(TokenKind.Name, _source[_at..stop], _line));
                Advance(stop);
            }
            else
            {
                Operator(open);
            }
        }
    }

    private void Operator(Stack<char> open)
    {
        var found = Array.Find(Operators, o => string.CompareOrdinal(_source, _at, o, 0, o.Length) == 0)
            ?? throw new TemplateException(_line, $"unexpected character '{_source[_at]}'");
        if (found is "(" or "[" or "{")
        {
            open.Push(found[0] switch { '(' => ')', '[' => ']', _ => '}' });
        }
        else if (found is ")" or "]" or "}" && (open.Count == 0 || open.Pop() != found[0]))
        {
            throw new TemplateException(_line, $"unexpected '{found}'");
        }

        _tokens.Add(new Token(TokenKind.Operator, found, _line));
        Advance(_at + found.Length);
    }

    private void Number()
    {
        var stop = _at;
        if (_source[_at] == '0' && _at + 1 < _source.Length && _source[_at + 1] is 'x' or 'X' or 'b' or 'B' or 'o' or 'O')
        {
            stop += 2;
            while (stop < _source.Length && (char.IsAsciiHexDigit(_source[stop]) || _source[stop] == '_'))
            {
                stop++;
            }

            var digits = _source[(_at + 2)..stop].Replace("_", "", StringComparison.Ordinal);
            _tokens.Add(new Token(TokenKind.Integer, Radix(digits, _source[_at + 1]).ToString(CultureInfo.InvariantCulture), _line));
            Advance(stop);
            return;
        }

        stop = Digits(stop);
        var isFloat = false;
        if (stop + 1 < _source.Length && _source[stop] == '.' && char.IsAsciiDigit(_source[stop + 1]))
        {
            isFloat = true;
            stop = Digits(stop + 1);
        }

        if (stop < _source.Length && _source[stop] is 'e' or 'E')
        {
            var exponent = stop + 1 < _source.Length && _source[stop + 1] is '+' or '-' ? stop + 2 : stop + 1;
            if (exponent < _source.Length && char.IsAsciiDigit(_source[exponent]))
            {
                isFloat = true;
                stop = Digits(exponent);
            }
        }

        _tokens.Add(new Token(isFloat ? TokenKind.Float : TokenKind.Integer, _source[_at..stop].Replace("_", "", StringComparison.Ordinal), _line));
        Advance(stop);
    }

    private long Radix(string digits, char kind)
    {
        try
        {
            return Convert.ToInt64(digits, kind switch { 'x' or 'X' => 16, 'o' or 'O' => 8, _ => 2 });
        }
        catch (Exception e) when (e is FormatException or OverflowException or ArgumentException)
        {
            throw new TemplateException(_line, $"'0{kind}{digits}' is not a number");
        }
    }

    private int Digits(int at)
    {
        while (at < _source.Length && (char.IsAsciiDigit(_source[at]) || _source[at] == '_'))
        {
            at++;
        }

        return at;
    }

    private void String(char quote)
    {
        var line = _line;
        var value = new StringBuilder();
        var at = _at + 1;
        while (at < _source.Length && _source[at] != quote)
        {
            if (_source[at] != '\\' || at + 1 >= _source.Length)
            {
                value.Append(_source[at++]);
                continue;
            }

            at = Escape(at + 1, value);
        }

        if (at >= _source.Length)
        {
            throw new TemplateException(line, $"a string is not closed, expected {quote}");
        }

        _tokens.Add(new Token(TokenKind.String, value.ToString(), line));
        Advance(at + 1);
    }

    // Python's escapes; an unknown one stays as it is written.
    private int Escape(int at, StringBuilder value)
    {
        var c = _source[at];
        var digits = c switch { 'x' => 2, 'u' => 4, 'U' => 8, _ => 0 };
        if (digits > 0)
        {
            if (at + 1 + digits > _source.Length
                || !uint.TryParse(_source.AsSpan(at + 1, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var point)
                || point > 0x10FFFF)
            {
                throw new TemplateException(_line, $"'\\{c}' is not followed by the {digits} hexadecimal digits of a code point");
            }

            value.Append(point > 0xFFFF ? char.ConvertFromUtf32((int)point) : ((char)point).ToString());
            return at + 1 + digits;
        }

        if (c is >= '0' and <= '7')
        {
            var octal = 0;
            var end = Math.Min(at + 3, _source.Length);
            for (; at < end && _source[at] is >= '0' and <= '7'; at++)
            {
                octal = octal * 8 + (_source[at] - '0');
            }

            value.Append((char)octal);
            return at;
        }

        value.Append(c switch
        {
            'n' => "\n",
            't' => "\t",
            'r' => "\r",
            'b' => "\b",
            'f' => "\f",
            'v' => "\v",
            'a' => "\a",
            '\n' => "",
            '\\' or '\'' or '"' => c.ToString(),
            _ => "\\" + c,
        });
        return at + 1;
    }
}

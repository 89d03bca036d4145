using System.Text;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Models;

namespace LowLevelSpec.Cli.Output;

/// <summary>
/// Writes streamed text, on a colour terminal with accepted draft tokens in one colour and the target's own in another. One per
/// generation; not thread-safe.
/// </summary>
/// <remarks>
/// A chunk's text may lag behind its tokens: half a character and a possible stop string are held back. So the painter detokenizes by
/// itself, remembers for each character which kind of token wrote it, and gives the chunk's characters these colours in order.
/// </remarks>
internal sealed class TokenPainter
{
    /// <summary>Cyan and yellow: told apart by colour-blind readers too.</summary>
    private const string AcceptedColour = "\u001b[36m", OwnColour = "\u001b[33m", NoColour = "\u001b[0m";

    private readonly TextWriter _writer;
    private readonly bool _terminal;
    private readonly Detokenizer? _detokenizer;
    private readonly Queue<(int Length, bool Accepted)> _runs = new();
    private readonly StringBuilder _line = new();
    private int _used;

    /// <summary>Creates a painter on standard output.</summary>
    public TokenPainter(CliConsole console, Tokenizer? tokenizer, bool colour)
    {
        (_writer, _terminal) = (console.Out, console.OutIsTerminal);
        _detokenizer = colour && console.OutHasColour ? tokenizer?.CreateDetokenizer() : null;
    }

    /// <summary>What the colours mean, coloured; null where there are none.</summary>
    public string? Legend => _detokenizer is null ? null : $"{AcceptedColour}accepted draft tokens{NoColour}, {OwnColour}the target's own{NoColour}";

    /// <summary>Runs a generation to its end and paints it where there is a painter; false where it was cancelled.</summary>
    public static async Task<bool> DrainAsync(GenerationStream stream, TokenPainter? painter)
    {
        try
        {
            await foreach (GenerationChunk chunk in stream.ConfigureAwait(false))
            {
                painter?.Write(chunk);
            }

            return true;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }

    /// <summary>Writes a chunk.</summary>
    public void Write(in GenerationChunk chunk)
    {
        if (_detokenizer is null)
        {
            Append(chunk.Text);
            Flush();
            return;
        }

        ReadOnlySpan<int> tokens = chunk.Tokens.Span;
        for (int i = 0; i < tokens.Length; i++)
        {
            int length = _detokenizer.Add(tokens[i]).Length;
            if (length > 0)
            {
                _runs.Enqueue((length, i < chunk.Accepted));
            }
        }

        Paint(chunk.Text);
        Flush();
    }

    private void Paint(ReadOnlySpan<char> text)
    {
        while (!text.IsEmpty)
        {
            // No run is left for what the very end adds: an incomplete character.
            (int length, bool accepted) = _runs.Count > 0 ? _runs.Peek() : (text.Length + _used, false);
            int take = Math.Min(length - _used, text.Length);
            _line.Append(accepted ? AcceptedColour : OwnColour);
            Append(text[..take]);
            _line.Append(NoColour);
            text = text[take..];
            _used += take;
            if (_used == length)
            {
                _ = _runs.TryDequeue(out _);
                _used = 0;
            }
        }
    }

    /// <summary>Adds text; on a terminal control characters become visible, as a model's text must not steer it.</summary>
    private void Append(ReadOnlySpan<char> text)
    {
        if (!_terminal)
        {
            _line.Append(text);
            return;
        }

        foreach (char c in text)
        {
            // U+2400 begins the pictures of the control characters.
            _line.Append(c is '\n' or '\t' || !char.IsControl(c) ? c : c < ' ' ? (char)(0x2400 + c) : '\uFFFD');
        }
    }

    private void Flush()
    {
        if (_line.Length > 0)
        {
            _writer.Write(_line.ToString());
            _line.Clear();
        }
    }
}

using System.Buffers;
using System.Text;

namespace LowLevelSpec.Models;

/// <summary>Turns a stream of tokens into a stream of text. One per generation; not thread-safe.</summary>
/// <remarks>The texts of all calls together are what <see cref="Tokenizer.Decode"/> gives for all tokens at once.</remarks>
public sealed class Detokenizer
{
    private readonly Tokenizer _tokenizer;
    private readonly bool _skipSpecial;
    private byte[] _pending = new byte[64];
    private int _count;

    internal Detokenizer(Tokenizer tokenizer, bool skipSpecial)
    {
        _tokenizer = tokenizer;
        _skipSpecial = skipSpecial;
    }

    /// <summary>Text that became complete with this token; may be empty.</summary>
    public string Add(int token)
    {
        var bytes = _tokenizer.BytesOf(token, _skipSpecial);
        if (bytes.IsEmpty)
        {
            return "";
        }

        if (_count == 0 && _tokenizer.WholeText(token) is { } whole)
        {
            return whole;
        }

        if (_pending.Length - _count < bytes.Length)
        {
            Array.Resize(ref _pending, Math.Max(_pending.Length * 2, _count + bytes.Length));
        }

        bytes.CopyTo(_pending.AsSpan(_count));
        _count += bytes.Length;
        var complete = _count - UnfinishedTail(_pending.AsSpan(0, _count));
        var text = Encoding.UTF8.GetString(_pending, 0, complete);
        _pending.AsSpan(complete, _count - complete).CopyTo(_pending);
        _count -= complete;
        return text;
    }

    /// <summary>What is left at the end (incomplete bytes become U+FFFD).</summary>
    public string Flush()
    {
        var text = Encoding.UTF8.GetString(_pending, 0, _count);
        _count = 0;
        return text;
    }

    // A lead byte always starts a new character, so cutting before one never changes how the bytes before it decode.
    private static int UnfinishedTail(ReadOnlySpan<byte> bytes)
    {
        for (var length = 1; length <= Math.Min(3, bytes.Length); length++)
        {
            if (bytes[^length] >= 0xC0)
            {
                return Rune.DecodeFromUtf8(bytes[^length..], out _, out _) == OperationStatus.NeedMoreData ? length : 0;
            }
        }

        return 0;
    }
}

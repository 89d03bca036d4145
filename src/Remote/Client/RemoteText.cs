using System.Text;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Models;

namespace LowLevelSpec.Remote.Client;

/// <summary>
/// A text as the client knows it: committed tokens (the prompt and what the target chose), then a tail that the drafter assumes to follow. The first part of the tail
/// may have been given out as unverified. Every step that a reader has to hear of is handed to <c>emit</c>.
/// </summary>
internal sealed class RemoteText
{
    private readonly SequenceState _sequence;
    private readonly Tokenizer? _tokenizer;
    private readonly Action<RemoteChunk> _emit;
    private readonly StringBuilder _given = new();
    private readonly int _promptLength;
    private Detokenizer? _detokenizer;

    public RemoteText(SequenceState sequence, int promptLength, Tokenizer? tokenizer, Action<RemoteChunk> emit)
    {
        (_sequence, _tokenizer, _emit, _promptLength) = (sequence, tokenizer, emit, promptLength);
        Committed = promptLength;
        _detokenizer = tokenizer?.CreateDetokenizer();
    }

    /// <summary>Tokens committed, prompt included.</summary>
    public int Committed { get; private set; }

    /// <summary>Tokens of the tail given out as unverified.</summary>
    public int Alone { get; private set; }

    /// <summary>Tokens of the tail.</summary>
    public int Tail => _sequence.Count - Committed;

    /// <summary>Output tokens that the target did not choose (kept after a cut).</summary>
    public int Kept { get; private set; }

    /// <summary>Tokens given out: committed ones and the unverified tail.</summary>
    public int GivenOut => Committed + Alone;

    /// <summary>Tokens given out as unverified in all, and of these taken back.</summary>
    public int WrittenAlone { get; private set; }

    public int RolledBack { get; private set; }

    /// <summary>Tokens assumed ahead that an answer left valid, in all.</summary>
    public int KeptAhead { get; private set; }

    /// <summary>Takes in what the target chose after the committed tokens. False where it contradicts the tail, which is then dropped.</summary>
    public bool Commit(ReadOnlySpan<int> chosen)
    {
        ReadOnlySpan<int> tail = _sequence.Tokens.AsSpan(Committed, Tail);
        int same = 0;
        while (same < chosen.Length && same < tail.Length && chosen[same] == tail[same])
        {
            same++;
        }

        bool holds = same == chosen.Length;
        int confirmed = Math.Min(same, Alone);
        if (confirmed > 0)
        {
            _emit(new RemoteChunk(ChunkKind.Confirmed, tail[..confirmed].ToArray(), ""));
            Committed += confirmed;
            Alone -= confirmed;
            chosen = chosen[confirmed..];
        }

        if (!holds)
        {
            RollBack();
        }
        else
        {
            KeptAhead += Tail - chosen.Length;
        }

        if (!chosen.IsEmpty)
        {
            chosen.CopyTo(_sequence.Tokens.AsSpan(Committed));
            Committed += chosen.Length;
            _sequence.Count = Math.Max(_sequence.Count, Committed);
            _emit(new RemoteChunk(ChunkKind.Verified, chosen.ToArray(), Detokenize(chosen)));
        }

        return holds;
    }

    /// <summary>Adds a token to the tail.</summary>
    public void Assume(TokenId token) => _sequence.Tokens[_sequence.Count++] = token.Value;

    /// <summary>Gives the tail out as unverified.</summary>
    public void GiveOutTail()
    {
        // One at a time: a part of the tail may be confirmed and the rest taken back, and whoever shows text must know which text that is.
        while (Tail > Alone)
        {
            ReadOnlySpan<int> token = _sequence.Tokens.AsSpan(GivenOut, 1);
            Alone++;
            WrittenAlone++;
            _emit(new RemoteChunk(ChunkKind.Unverified, token.ToArray(), Detokenize(token)));
        }
    }

    /// <summary>Shortens the tail to its first <paramref name="count"/> tokens, none of which beyond has been given out.</summary>
    public void CutTail(int count) => _sequence.Count = Committed + Math.Max(Alone, Math.Min(count, Tail));

    /// <summary>Makes the unverified tail part of the committed text as it is.</summary>
    public void KeepTail()
    {
        _sequence.Count = GivenOut;
        if (Alone > 0)
        {
            _emit(new RemoteChunk(ChunkKind.Kept, _sequence.Tokens.AsSpan(Committed, Alone).ToArray(), ""));
            Kept += Alone;
            Committed += Alone;
            Alone = 0;
        }
    }

    /// <summary>Ends the text: what was held back of an incomplete character is given out.</summary>
    public void Finish()
    {
        string rest = _detokenizer?.Flush() ?? "";
        if (rest.Length > 0)
        {
            _given.Append(rest);
            _emit(new RemoteChunk(Alone > 0 ? ChunkKind.Unverified : ChunkKind.Verified, ReadOnlyMemory<int>.Empty, rest));
        }
    }

    /// <summary>The text given out; null without a tokenizer.</summary>
    public string? Text => _tokenizer is null ? null : _given.ToString();

    private void RollBack()
    {
        ReadOnlySpan<int> dropped = _sequence.Tokens.AsSpan(Committed, Alone);
        _sequence.Count = Committed;
        if (dropped.IsEmpty)
        {
            return;
        }

        RolledBack += dropped.Length;
        Alone = 0;

        // Detokenizing is a function of the tokens so far, so the text given out begins with that of the tokens that stay.
        _detokenizer = _tokenizer?.CreateDetokenizer();
        int length = 0;
        foreach (int token in _sequence.Tokens.AsSpan(_promptLength, Committed - _promptLength))
        {
            length += _detokenizer?.Add(token).Length ?? 0;
        }

        string text = _given.ToString(length, _given.Length - length);
        _given.Length = length;
        _emit(new RemoteChunk(ChunkKind.RolledBack, dropped.ToArray(), text));
    }

    private string Detokenize(ReadOnlySpan<int> tokens)
    {
        if (_detokenizer is null)
        {
            return "";
        }

        int start = _given.Length;
        foreach (int token in tokens)
        {
            _given.Append(_detokenizer.Add(token));
        }

        return _given.ToString(start, _given.Length - start);
    }
}

namespace LowLevelSpec.Models;

/// <summary>
/// Texts of tokens by id and ids by text. Texts are kept as UTF-8 in one block: a vocabulary of 150,000 entries costs no
/// managed object per entry.
/// </summary>
internal sealed class TokenTable
{
    /// <summary>Ids at or above this are refused: per-id arrays stay small whatever a file claims.</summary>
    public const int MaxIds = 1 << 22;

    private byte[] _blob = new byte[1 << 16];
    private int _used;
    private int[] _starts = new int[1024];
    private int[] _lengths = NewLengths(1024);
    private int[] _slots = new int[4096];
    private int _count;

    /// <summary>Highest id + 1.</summary>
    public int IdLimit { get; private set; }

    /// <summary>Number of tokens.</summary>
    public int Count => _count;

    /// <summary>Adds a token; false if its id or its text is taken.</summary>
    public bool TryAdd(int id, ReadOnlySpan<byte> utf8)
    {
        if (Contains(id) || TryGetId(utf8, out _))
        {
            return false;
        }

        EnsureId(id);
        if (_blob.Length - _used < utf8.Length)
        {
            Array.Resize(ref _blob, Math.Max(checked(_blob.Length * 2), checked(_used + utf8.Length)));
        }

        utf8.CopyTo(_blob.AsSpan(_used));
        _starts[id] = _used;
        _lengths[id] = utf8.Length;
        _used += utf8.Length;
        IdLimit = Math.Max(IdLimit, id + 1);
        if (++_count * 2 > _slots.Length)
        {
            Rehash();
        }
        else
        {
            Insert(id);
        }

        return true;
    }

    /// <summary>Whether an id has a token.</summary>
    public bool Contains(int id) => (uint)id < (uint)_lengths.Length && _lengths[id] >= 0;

    /// <summary>A token's text as UTF-8; empty for an id without a token.</summary>
    public ReadOnlySpan<byte> Utf8(int id) => Contains(id) ? _blob.AsSpan(_starts[id], _lengths[id]) : default;

    /// <summary>The id of a text.</summary>
    public bool TryGetId(ReadOnlySpan<byte> utf8, out int id)
    {
        var mask = _slots.Length - 1;
        for (var slot = Hash(utf8) & mask; _slots[slot] != 0; slot = (slot + 1) & mask)
        {
            id = _slots[slot] - 1;
            if (_blob.AsSpan(_starts[id], _lengths[id]).SequenceEqual(utf8))
            {
                return true;
            }
        }

        id = -1;
        return false;
    }

    private static int[] NewLengths(int size)
    {
        var lengths = new int[size];
        Array.Fill(lengths, -1);
        return lengths;
    }

    // HashCode is seeded per process: a file cannot be written so that its tokens collide.
    private static int Hash(ReadOnlySpan<byte> utf8)
    {
        var hash = default(HashCode);
        hash.AddBytes(utf8);
        return hash.ToHashCode();
    }

    private void EnsureId(int id)
    {
        if (id < _lengths.Length)
        {
            return;
        }

        var old = _lengths.Length;
        var size = Math.Max(id + 1, old * 2);
        Array.Resize(ref _starts, size);
        Array.Resize(ref _lengths, size);
        Array.Fill(_lengths, -1, old, size - old);
    }

    private void Insert(int id)
    {
        var mask = _slots.Length - 1;
        var slot = Hash(Utf8(id)) & mask;
        while (_slots[slot] != 0)
        {
            slot = (slot + 1) & mask;
        }

        _slots[slot] = id + 1;
    }

    private void Rehash()
    {
        _slots = new int[_slots.Length * 2];
        for (var id = 0; id < IdLimit; id++)
        {
            if (Contains(id))
            {
                Insert(id);
            }
        }
    }
}

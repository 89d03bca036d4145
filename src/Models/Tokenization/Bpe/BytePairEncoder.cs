using System.Buffers;

namespace LowLevelSpec.Models;

/// <summary>
/// Byte-pair encoding of one pre-token with an explicit merge list. Unlike encoders that work from ranks of whole tokens, two
/// neighbours merge only if their pair is listed, even where their concatenation is a token.
/// </summary>
internal sealed class BytePairEncoder
{
    // Up to here a scan for the lowest rank beats a heap.
    private const int ScanLimit = 48;

    private readonly TokenTable _tokens;
    private readonly MergeTable _merges;
    private readonly bool[] _special;
    private readonly bool _ignoreMerges;
    private readonly int _unknown;
    private readonly bool _fuseUnknown;
    private readonly int[] _byteIds = new int[256];

    public BytePairEncoder(TokenTable tokens, MergeTable merges, bool[] special, bool ignoreMerges, int unknown, bool fuseUnknown)
    {
        _tokens = tokens;
        _merges = merges;
        _special = special;
        _ignoreMerges = ignoreMerges;
        _unknown = unknown;
        _fuseUnknown = fuseUnknown;
        Span<byte> utf8 = stackalloc byte[2];
        for (var b = 0; b < 256; b++)
        {
            _byteIds[b] = tokens.TryGetId(utf8[..WriteAlphabet((byte)b, utf8)], out var id) ? id : -1;
        }
    }

    /// <summary>Appends the ids of a pre-token's bytes.</summary>
    /// <param name="bytes">The pre-token as UTF-8.</param>
    /// <param name="allowSpecial">Whether the id for unknown bytes may be a control token; if not, such bytes are dropped.</param>
    /// <param name="output">Receives the ids.</param>
    public void Encode(ReadOnlySpan<byte> bytes, bool allowSpecial, IntBuffer output)
    {
        if (_ignoreMerges && TryWhole(bytes, output))
        {
            return;
        }

        int[]? rented = null;
        var ids = bytes.Length <= 256 ? stackalloc int[256] : (rented = ArrayPool<int>.Shared.Rent(bytes.Length));
        try
        {
            var count = Symbols(bytes, ids, allowSpecial);
            output.Add(ids[..(count <= ScanLimit ? MergeByScan(ids[..count]) : MergeByHeap(ids[..count]))]);
        }
        finally
        {
            if (rented is not null)
            {
                ArrayPool<int>.Shared.Return(rented);
            }
        }
    }

    /// <summary>Merges by looking for the leftmost lowest rank each time: quadratic, quick for short pre-tokens.</summary>
    /// <returns>How many ids are left at the start of <paramref name="ids"/>.</returns>
    internal int MergeByScan(Span<int> ids)
    {
        var count = ids.Length;
        Span<int> ranks = count <= 64 ? stackalloc int[64] : new int[count];
        for (var i = 0; i + 1 < count; i++)
        {
            ranks[i] = _merges.Rank(ids[i], ids[i + 1]);
        }

        while (count > 1)
        {
            var best = 0;
            for (var i = 1; i < count - 1; i++)
            {
                if (ranks[i] < ranks[best])
                {
                    best = i;
                }
            }

            if (ranks[best] == MergeTable.None)
            {
                break;
            }

            ids[best] = _merges.Result(ranks[best]);
            ids[(best + 2)..count].CopyTo(ids[(best + 1)..]);
            ranks[(best + 1)..count].CopyTo(ranks[best..]);
            count--;
            if (best > 0)
            {
                ranks[best - 1] = _merges.Rank(ids[best - 1], ids[best]);
            }

            if (best + 1 < count)
            {
                ranks[best] = _merges.Rank(ids[best], ids[best + 1]);
            }
        }

        return count;
    }

    /// <summary>The same merges in O(n log n): candidates in a heap by rank, then position; neighbours in a linked list.</summary>
    /// <returns>How many ids are left at the start of <paramref name="ids"/>.</returns>
    internal int MergeByHeap(Span<int> ids)
    {
        var count = ids.Length;
        var links = ArrayPool<int>.Shared.Rent(count * 2);
        try
        {
            var previous = links.AsSpan(0, count);
            var next = links.AsSpan(count, count);
            var heap = new PriorityQueue<int, ulong>(count);
            for (var i = 0; i < count; i++)
            {
                previous[i] = i - 1;
                next[i] = i + 1 < count ? i + 1 : -1;
                Push(heap, ids, i, next[i]);
            }

            while (heap.TryDequeue(out var at, out var priority))
            {
                // A candidate is stale once one of its two symbols has merged otherwise: its pair then has another rank, or none.
                var right = ids[at] < 0 ? -1 : next[at];
                var rank = (int)(priority >> 32);
                if (right < 0 || _merges.Rank(ids[at], ids[right]) != rank)
                {
                    continue;
                }

                ids[at] = _merges.Result(rank);
                ids[right] = -1;
                next[at] = next[right];
                if (next[at] >= 0)
                {
                    previous[next[at]] = at;
                }

                Push(heap, ids, at, next[at]);
                if (previous[at] >= 0)
                {
                    Push(heap, ids, previous[at], at);
                }
            }

            var kept = 0;
            for (var i = 0; i >= 0 && i < count; i = next[i])
            {
                ids[kept++] = ids[i];
            }

            return kept;
        }
        finally
        {
            ArrayPool<int>.Shared.Return(links);
        }
    }

    private static int WriteAlphabet(byte value, Span<byte> utf8)
    {
        var c = ByteAlphabet.CharOf(value);
        if (c < 0x80)
        {
            utf8[0] = (byte)c;
            return 1;
        }

        utf8[0] = (byte)(0xC0 | (c >> 6));
        utf8[1] = (byte)(0x80 | (c & 0x3F));
        return 2;
    }

    private void Push(PriorityQueue<int, ulong> heap, Span<int> ids, int left, int right)
    {
        if (right < 0)
        {
            return;
        }

        var rank = _merges.Rank(ids[left], ids[right]);
        if (rank != MergeTable.None)
        {
            heap.Enqueue(left, ((ulong)(uint)rank << 32) | (uint)left);
        }
    }

    private int Symbols(ReadOnlySpan<byte> bytes, Span<int> ids, bool allowSpecial)
    {
        var count = 0;
        var afterUnknown = false;
        var unknown = _unknown >= 0 && (allowSpecial || !_special[_unknown]) ? _unknown : -1;
        foreach (var b in bytes)
        {
            var id = _byteIds[b];
            if (id >= 0)
            {
                ids[count++] = id;
                afterUnknown = false;
            }
            else if (unknown >= 0 && !(afterUnknown && _fuseUnknown))
            {
                ids[count++] = unknown;
                afterUnknown = true;
            }
        }

        return count;
    }

    private bool TryWhole(ReadOnlySpan<byte> bytes, IntBuffer output)
    {
        byte[]? rented = null;
        var utf8 = bytes.Length <= 256 ? stackalloc byte[512] : (rented = ArrayPool<byte>.Shared.Rent(bytes.Length * 2));
        var length = 0;
        foreach (var b in bytes)
        {
            length += WriteAlphabet(b, utf8[length..]);
        }

        // A control token is never reached this way: with control tokens on, its text is split off before pre-tokenization.
        var found = _tokens.TryGetId(utf8[..length], out var id) && !_special[id];
        if (rented is not null)
        {
            ArrayPool<byte>.Shared.Return(rented);
        }

        if (found)
        {
            output.Add(id);
        }

        return found;
    }
}

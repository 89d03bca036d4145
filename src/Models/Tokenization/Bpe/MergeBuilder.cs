using System.Text;

namespace LowLevelSpec.Models;

/// <summary>Fills a merge table from texts.</summary>
internal sealed class MergeBuilder(MergeTable table, TokenTable tokens, HashSet<int> special, string path, string key)
{
    private byte[] _buffer = new byte[512];

    /// <summary>Adds a merge written as "left right".</summary>
    /// <exception cref="ModelFileException">It is written otherwise, or a token is unknown.</exception>
    public void Add(int rank, string merge)
    {
        var space = merge.IndexOf(' ', StringComparison.Ordinal);
        if (space <= 0 || space == merge.Length - 1 || merge.IndexOf(' ', space + 1) >= 0)
        {
            throw new ModelFileException(path, $"'{key}[{rank}]' is \"{merge}\", expected two tokens with a space between; download the file again");
        }

        Add(rank, merge.AsSpan(0, space), merge.AsSpan(space + 1));
    }

    /// <summary>Adds a merge.</summary>
    /// <exception cref="ModelFileException">A token is unknown.</exception>
    public void Add(int rank, ReadOnlySpan<char> left, ReadOnlySpan<char> right)
    {
        var needed = (left.Length + right.Length) * 3;
        if (_buffer.Length < needed)
        {
            _buffer = new byte[needed];
        }

        var middle = Encoding.UTF8.GetBytes(left, _buffer);
        var end = middle + Encoding.UTF8.GetBytes(right, _buffer.AsSpan(middle));
        var result = Find(_buffer.AsSpan(0, end), rank);

        // Ordinary text must never merge into a control token. With control tokens on, its text is split off before merging anyway.
        if (!special.Contains(result))
        {
            table.Set(Find(_buffer.AsSpan(0, middle), rank), Find(_buffer.AsSpan(middle, end - middle), rank), rank, result);
        }
    }

    private int Find(ReadOnlySpan<byte> utf8, int rank)
        => tokens.TryGetId(utf8, out var id) ? id : throw new ModelFileException(
            path, $"'{key}[{rank}]' names '{Encoding.UTF8.GetString(utf8)}', which is not in the vocabulary, expected two tokens and their concatenation in it; download the file again");
}

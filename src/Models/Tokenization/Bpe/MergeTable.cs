using System.Security.Cryptography;

namespace LowLevelSpec.Models;

/// <summary>Ranks of token pairs: which two neighbours merge, how early, and into what.</summary>
internal sealed class MergeTable
{
    /// <summary>The rank of a pair that does not merge: later than every merge.</summary>
    public const int None = int.MaxValue;

    private const ulong Free = ulong.MaxValue;
    private readonly ulong[] _keys;
    private readonly int[] _ranks;
    private readonly int[] _results;
    private readonly int _shift;

    // An odd random multiplier: a file cannot be written so that its pairs collide.
    private readonly ulong _multiplier = BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(8)) | 1;

    /// <summary>A table for ranks 0 to <paramref name="capacity"/> - 1.</summary>
    public MergeTable(int capacity)
    {
        var bits = 4;
        while (1L << bits < 2L * capacity)
        {
            bits++;
        }

        _keys = new ulong[1 << bits];
        Array.Fill(_keys, Free);
        _ranks = new int[1 << bits];
        _results = new int[capacity];
        _shift = 64 - bits;
    }

    /// <summary>Sets what a pair merges into. A pair listed twice keeps its later rank, as in Hugging Face tokenizers.</summary>
    public void Set(int left, int right, int rank, int result)
    {
        var slot = Slot(Key(left, right));
        _keys[slot] = Key(left, right);
        _ranks[slot] = rank;
        _results[rank] = result;
    }

    /// <summary>A pair's rank, or <see cref="None"/>.</summary>
    public int Rank(int left, int right)
    {
        var slot = Slot(Key(left, right));
        return _keys[slot] == Free ? None : _ranks[slot];
    }

    /// <summary>What the merge of a rank makes.</summary>
    public int Result(int rank) => _results[rank];

    private static ulong Key(int left, int right) => ((ulong)(uint)left << 32) | (uint)right;

    private int Slot(ulong key)
    {
        // Two multiplications, so that both halves of the key reach the high bits.
        var mixed = key * _multiplier;
        mixed = (mixed ^ (mixed >> 32)) * _multiplier;
        var mask = _keys.Length - 1;
        var slot = (int)(mixed >> _shift);
        while (_keys[slot] != Free && _keys[slot] != key)
        {
            slot = (slot + 1) & mask;
        }

        return slot;
    }
}

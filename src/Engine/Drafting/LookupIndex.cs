namespace LowLevelSpec.Engine.Drafting;

/// <summary>What the last tokens of a sequence were followed by earlier on.</summary>
/// <param name="Start">Position of the first token of the continuation; -1 = there is none.</param>
/// <param name="Length">Tokens in front of it that equal the sequence's last ones.</param>
internal readonly record struct LookupMatch(int Start, int Length)
{
    /// <summary>No match.</summary>
    public static LookupMatch None => new(-1, 0);

    /// <summary>Whether there is a continuation.</summary>
    public bool Found => Start >= 0;
}

/// <summary>
/// All n-grams (n = 1..4) of a sequence: per n a hash table of the latest end position and a chain to earlier ones. Allocates only when created.
/// </summary>
internal sealed class LookupIndex
{
    /// <summary>Longest n-gram.</summary>
    public const int MaxNgram = 4;

    /// <summary>Chain links followed per n: bounds the time on texts that repeat one token.</summary>
    private const int MaxProbes = 64;

    /// <summary>Matches are compared with each other up to this length.</summary>
    private const int MaxMatch = 16;

    private readonly int[][] _heads = new int[MaxNgram + 1][];
    private readonly int[][] _previous = new int[MaxNgram + 1][];
    private readonly int _mask;
    private int _indexed;

    /// <param name="maxTokens">Most tokens the sequence will ever hold.</param>
    public LookupIndex(int maxTokens)
    {
        int size = (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)Math.Max(16, maxTokens));
        _mask = size - 1;
        for (int n = 1; n <= MaxNgram; n++)
        {
            _heads[n] = new int[size];
            _heads[n].AsSpan().Fill(-1);
            _previous[n] = new int[maxTokens + 1];
        }
    }

    /// <summary>Takes in new tokens. The n-grams that end at the last one are looked up before they are indexed, so they do not find themselves.</summary>
    public void Update(ReadOnlySpan<int> tokens)
    {
        for (; _indexed < tokens.Length - 1; _indexed++)
        {
            for (int n = 1; n <= Math.Min(MaxNgram, _indexed + 1); n++)
            {
                int slot = Hash(tokens.Slice(_indexed + 1 - n, n));
                _previous[n][_indexed] = _heads[n][slot];
                _heads[n][slot] = _indexed;
            }
        }
    }

    /// <summary>Enumerates positions behind earlier occurrences of the last <paramref name="n"/> tokens, latest first.</summary>
    public Occurrences Find(ReadOnlySpan<int> tokens, int n) => new(this, tokens, n);

    /// <summary>The occurrence with the longest match, the latest of equals.</summary>
    public LookupMatch Best(ReadOnlySpan<int> tokens)
    {
        for (int n = Math.Min(MaxNgram, tokens.Length - 1); n >= 1; n--)
        {
            LookupMatch best = LookupMatch.None;
            foreach (int start in Find(tokens, n))
            {
                int length = n;
                while (length < MaxMatch && length < start && tokens[start - 1 - length] == tokens[^(length + 1)])
                {
                    length++;
                }

                if (length > best.Length)
                {
                    best = new LookupMatch(start, length);
                }
            }

            if (best.Found)
            {
                return best;
            }
        }

        return LookupMatch.None;
    }

    private int Hash(ReadOnlySpan<int> ngram)
    {
        uint hash = (uint)ngram.Length;
        foreach (int token in ngram)
        {
            hash = (hash ^ (uint)token) * 0x9E3779B1u;
            hash ^= hash >> 15;
        }

        return (int)(hash & (uint)_mask);
    }

    /// <summary>An enumerator over occurrences; its own enumerable, so that foreach allocates nothing.</summary>
    internal ref struct Occurrences
    {
        private readonly LookupIndex _index;
        private readonly ReadOnlySpan<int> _tokens;
        private readonly int _n;
        private int _end, _probes;

        public Occurrences(LookupIndex index, ReadOnlySpan<int> tokens, int n)
        {
            (_index, _n) = (index, n);
            _tokens = tokens;
            _end = index._heads[n][index.Hash(tokens[^n..])];
        }

        /// <summary>Position of the token after the occurrence.</summary>
        public int Current { get; private set; }

        public readonly Occurrences GetEnumerator() => this;

        public bool MoveNext()
        {
            while (_probes++ < MaxProbes && _end >= 0)
            {
                int end = _end;
                _end = _index._previous[_n][end];
                if (_tokens.Slice(end + 1 - _n, _n).SequenceEqual(_tokens[^_n..]))
                {
                    Current = end + 1;
                    return true;
                }
            }

            return false;
        }
    }
}

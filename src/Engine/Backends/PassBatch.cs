namespace LowLevelSpec.Engine.Backends;

/// <summary>
/// The rows of one pass: a ragged batch over any number of sequences. Row i brings its token, its position, its sequence's cache,
/// the cache row it is written to and what it may attend to: the first <see cref="Prefix"/>[i] rows of its cache, then a list of
/// single rows (its ancestors in a tree, itself included, in depth order). The list is a 64-bit ancestor mask spelled out: it
/// has no size limit, and it visits keys in position order wherever they lie, which is what makes a tree pass give the
/// same bits as one-token passes. Plain decoding is one row, prefill many rows of one sequence, verification a tree of rows.
/// Arrays are allocated once; a step allocates nothing.
/// </summary>
public sealed class PassBatch
{
    private readonly KvCache?[] _caches;
    private readonly int[] _tokens, _positions, _cacheRows, _prefix, _ancestorStart, _ancestorCount;
    private int[] _ancestorRows;
    private int _ancestorTotal;

    /// <summary>Creates an empty batch.</summary>
    /// <param name="capacity">Most rows it can hold.</param>
    /// <param name="ancestorCapacity">Expected sum of ancestor list lengths; grows when exceeded (outside the steady state).</param>
    public PassBatch(int capacity, int ancestorCapacity)
    {
        Capacity = capacity;
        _caches = new KvCache?[capacity];
        _tokens = new int[capacity];
        _positions = new int[capacity];
        _cacheRows = new int[capacity];
        _prefix = new int[capacity];
        _ancestorStart = new int[capacity];
        _ancestorCount = new int[capacity];
        _ancestorRows = new int[ancestorCapacity];
    }

    /// <summary>Most rows.</summary>
    public int Capacity { get; }

    /// <summary>Changes with the rows, so that a backend knows whether a copy of them is still good.</summary>
    internal int Version { get; private set; }

    /// <summary>Where a backend's own work writes the rows: then tokens, positions and what they see are there and not here. Null for rows that the host writes.</summary>
    internal object? Planned { get; private set; }

    /// <summary>The largest position; -1 where there is no row.</summary>
    internal int LastPosition { get; private set; } = -1;

    /// <summary>Rows in use.</summary>
    public int Count { get; private set; }

    /// <summary>Token of each row.</summary>
    public ReadOnlySpan<int> Tokens => _tokens.AsSpan(0, Count);

    /// <summary>Position of each row.</summary>
    public ReadOnlySpan<int> Positions => _positions.AsSpan(0, Count);

    /// <summary>Cache row each row's key and value are written to; -1 for rows that only query (cross-attention).</summary>
    public ReadOnlySpan<int> CacheRows => _cacheRows.AsSpan(0, Count);

    /// <summary>Leading cache rows each row sees, its own row included where it lies there.</summary>
    public ReadOnlySpan<int> Prefix => _prefix.AsSpan(0, Count);

    /// <summary>Cache of a row's sequence.</summary>
    public KvCache Cache(int row) => _caches[row]!;

    /// <summary>Single cache rows that row <paramref name="row"/> sees after its prefix, in position order.</summary>
    public ReadOnlySpan<int> Ancestors(int row) => _ancestorRows.AsSpan(_ancestorStart[row], _ancestorCount[row]);

    /// <summary>Empties the batch.</summary>
    public void Clear()
    {
        Count = 0;
        _ancestorTotal = 0;
        Planned = null;
        LastPosition = -1;
        Version++;
    }

    /// <summary>Adds a causal row: written to <paramref name="cacheRow"/>, sees rows 0..<paramref name="cacheRow"/>.</summary>
    /// <returns>The row's index in the batch.</returns>
    public int AddCausal(KvCache cache, TokenId token, Position position, CacheRow cacheRow) =>
        Add(cache, token, position, cacheRow.Value, cacheRow.Value + 1, []);

    /// <summary>Adds a row that queries the first <paramref name="prefix"/> rows of <paramref name="cache"/> and writes nothing (cross-attention).</summary>
    /// <returns>The row's index in the batch.</returns>
    public int AddQuery(KvCache cache, TokenId token, Position position, int prefix) =>
        Add(cache, token, position, -1, prefix, []);

    /// <summary>Adds a tree row.</summary>
    /// <param name="cache">Cache of the row's sequence.</param>
    /// <param name="token">Token fed.</param>
    /// <param name="position">Its position.</param>
    /// <param name="cacheRow">Row its key and value are written to.</param>
    /// <param name="prefix">Leading rows it sees.</param>
    /// <param name="ancestors">Cache rows it sees after the prefix, in position order, itself last.</param>
    /// <returns>The row's index in the batch.</returns>
    public int AddTree(KvCache cache, TokenId token, Position position, CacheRow cacheRow, int prefix, ReadOnlySpan<int> ancestors) =>
        Add(cache, token, position, cacheRow.Value, prefix, ancestors);

    /// <summary>Lets the batch stand for up to <paramref name="rows"/> rows that a backend writes itself.</summary>
    /// <param name="plan">The backend's own description of where.</param>
    /// <param name="cache">Cache that all rows belong to.</param>
    /// <param name="rows">Rows of every operation on the batch.</param>
    internal void Plan(object plan, KvCache cache, int rows)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(rows, Capacity);
        Clear();
        (Planned, Count) = (plan, rows);
        _caches.AsSpan(0, rows).Fill(cache);
    }

    private int Add(KvCache cache, TokenId token, Position position, int cacheRow, int prefix, ReadOnlySpan<int> ancestors)
    {
        if (Count == Capacity)
        {
            throw new InvalidOperationException($"the pass holds {Capacity} rows; split it");
        }

        if (cacheRow >= cache.Capacity || prefix > cache.Capacity)
        {
            throw new InvalidOperationException($"cache row {cacheRow} (prefix {prefix}) lies beyond the cache's {cache.Capacity} rows");
        }

        int row = Count++;
        _caches[row] = cache;
        _tokens[row] = token.Value;
        _positions[row] = position.Value;
        LastPosition = Math.Max(LastPosition, position.Value);
        Version++;
        _cacheRows[row] = cacheRow;
        _prefix[row] = prefix;
        _ancestorStart[row] = _ancestorTotal;
        _ancestorCount[row] = ancestors.Length;
        if (_ancestorTotal + ancestors.Length > _ancestorRows.Length)
        {
            Array.Resize(ref _ancestorRows, Math.Max(_ancestorRows.Length * 2, _ancestorTotal + ancestors.Length));
        }

        ancestors.CopyTo(_ancestorRows.AsSpan(_ancestorTotal));
        _ancestorTotal += ancestors.Length;
        return row;
    }
}

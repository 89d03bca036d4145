namespace LowLevelSpec.Engine.Backends;

/// <summary>
/// Keys and values of one sequence for one or more layers: K and V of [layers, kv heads, capacity rows, head size], K after RoPE.
/// Rows 0..Length-1 are verified tokens (row = position). Rows from Length on are free: a tree pass writes its nodes there, and
/// <see cref="IBackend.KeepRows"/> moves the accepted ones into place.
/// </summary>
public abstract class KvCache : IDisposable
{
    private int _length;

    /// <summary>Creates a cache of <paramref name="capacity"/> rows.</summary>
    protected KvCache(int layers, int kvHeads, int headSize, int capacity)
    {
        Layers = layers;
        KvHeads = kvHeads;
        HeadSize = headSize;
        Capacity = capacity;
    }

    /// <summary>Layers that share the row numbering.</summary>
    public int Layers { get; }

    /// <summary>K, key/value heads.</summary>
    public int KvHeads { get; }

    /// <summary>D, elements per head.</summary>
    public int HeadSize { get; }

    /// <summary>Rows allocated.</summary>
    public int Capacity { get; }

    /// <summary>Verified rows. Set by the decoding loop; lowering it crops, raising it commits rows already written.</summary>
    public int Length
    {
        get => _length;
        set
        {
            ArgumentOutOfRangeException.ThrowIfNegative(value);
            ArgumentOutOfRangeException.ThrowIfGreaterThan(value, Capacity);
            _length = value;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees the memory; called twice it does nothing.</summary>
    protected abstract void Dispose(bool disposing);
}

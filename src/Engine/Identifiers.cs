namespace LowLevelSpec.Engine;

/// <summary>A token of the vocabulary. In tree decoding tokens, positions, rows and nodes are all small integers and easily swapped; hence the types.</summary>
public readonly record struct TokenId(int Value)
{
    /// <inheritdoc/>
    public override string ToString() => Value.ToString();
}

/// <summary>A token's place in its sequence, 0 = first; what RoPE rotates by.</summary>
public readonly record struct Position(int Value);

/// <summary>A row of a <see cref="Backends.KvCache"/>. Verified tokens lie at the row of their position; tree nodes after them in node order.</summary>
public readonly record struct CacheRow(int Value);

/// <summary>A node of a draft tree, 0 = root.</summary>
public readonly record struct NodeIndex(int Value)
{
    /// <summary>The root: the last committed token, not yet in the target's cache.</summary>
    public static NodeIndex Root => new(0);
}

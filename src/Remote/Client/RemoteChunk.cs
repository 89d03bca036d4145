namespace LowLevelSpec.Remote.Client;

/// <summary>What a chunk does to the text so far.</summary>
public enum ChunkKind
{
    /// <summary>Adds tokens that the target chose.</summary>
    Verified,

    /// <summary>Adds tokens that only the drafter chose: the server is out of reach.</summary>
    Unverified,

    /// <summary>Marks the oldest unverified tokens as verified; the text does not change.</summary>
    Confirmed,

    /// <summary>Takes the unverified tokens back from the first one the target would not have chosen.</summary>
    RolledBack,

    /// <summary>The unverified tokens stay as they are (<see cref="OnReconnect.Keep"/>) and are now part of what the target continues.</summary>
    Kept,
}

/// <summary>One step of a remote generation.</summary>
/// <param name="Kind">What happens.</param>
/// <param name="Tokens">Tokens added, confirmed, kept or taken back.</param>
/// <param name="Text">Text added (Verified, Unverified), or the text taken back (RolledBack: the end of what was given out); else "".</param>
public readonly record struct RemoteChunk(ChunkKind Kind, ReadOnlyMemory<int> Tokens, string Text);

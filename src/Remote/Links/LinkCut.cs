namespace LowLevelSpec.Remote.Links;

/// <summary>How a link breaks.</summary>
public enum CutKind
{
    /// <summary>Both peers of every connection see it reset at once; what was under way is lost.</summary>
    Reset,

    /// <summary>
    /// Nothing comes through any more and nobody is told, as when a phone enters a tunnel. <see cref="LinkRelay.Restore"/> lets the same
    /// connections go on, late, as TCP's repetitions would.
    /// </summary>
    Silence,
}

/// <summary>One break of a link, at a byte that is still delivered in full: the byte after it is not.</summary>
/// <param name="Kind">How it breaks.</param>
/// <param name="Direction">Direction whose bytes are counted.</param>
/// <param name="AfterBytes">Bytes of that direction delivered from now on until it breaks; 0 = at the next byte.</param>
/// <param name="OneWay">Silence only: the other direction goes on.</param>
public sealed record LinkCut(CutKind Kind, LinkDirection Direction, long AfterBytes, bool OneWay = false);

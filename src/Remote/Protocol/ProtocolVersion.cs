namespace LowLevelSpec.Remote.Protocol;

/// <summary>The protocol's version: raised with every change that the other side must know of.</summary>
internal static class ProtocolVersion
{
    public const uint Current = 1;
}

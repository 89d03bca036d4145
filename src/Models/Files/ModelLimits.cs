namespace LowLevelSpec.Models;

/// <summary>Largest sizes that a configuration may claim: far above real models, small enough that no product of two overflows.</summary>
internal static class ModelLimits
{
    public const int Layers = 1024;
    public const int Hidden = 1 << 17;
    public const int Intermediate = 1 << 20;
    public const int Vocabulary = 1 << 21;
    public const int Heads = 4096;
    public const int HeadSize = 4096;
    public const int Context = 1 << 26;
}

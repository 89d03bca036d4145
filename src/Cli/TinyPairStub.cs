namespace LowLevelSpec.Engine;

internal static class TinyPair
{
    public static void Write(string directory, ulong seed) => throw new NotSupportedException($"not built yet ({directory}, {seed})");
}

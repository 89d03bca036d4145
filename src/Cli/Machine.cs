namespace LowLevelSpec.Cli;

/// <summary>What the system says about the machine.</summary>
internal static class Machine
{
    /// <summary>The processor's name, null where the system does not say.</summary>
    public static string? ProcessorName()
    {
        const string Field = "model name";
        try
        {
            return File.ReadLines("/proc/cpuinfo").FirstOrDefault(static line => line.StartsWith(Field, StringComparison.Ordinal))?.Split(':', 2)[^1].Trim();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}

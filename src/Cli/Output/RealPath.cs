namespace LowLevelSpec.Cli.Output;

/// <summary>Paths with every link followed, so that two names of one file compare equal.</summary>
internal static class RealPath
{
    /// <summary>More links than the systems themselves follow.</summary>
    private const int MaxLinks = 40;

    /// <summary>How this system compares paths.</summary>
    public static StringComparison Comparison { get; } = OperatingSystem.IsWindows() || OperatingSystem.IsMacOS() ? StringComparison.OrdinalIgnoreCase : StringComparison.Ordinal;

    /// <summary>The absolute path without links; parts that don't exist stay as they are.</summary>
    public static string Of(string path)
    {
        int links = 0;
        return Resolve(Path.GetFullPath(path), ref links);
    }

    /// <summary>Whether a path lies in a folder, both without links.</summary>
    public static bool IsInside(string path, string folder) =>
        path.StartsWith(Path.EndsInDirectorySeparator(folder) ? folder : folder + Path.DirectorySeparatorChar, Comparison);

    private static string Resolve(string path, ref int links)
    {
        string full = Path.TrimEndingDirectorySeparator(path);
        if (Path.GetDirectoryName(full) is not string parent)
        {
            return full;
        }

        string at = Path.Combine(Resolve(parent, ref links), Path.GetFileName(full));
        return new FileInfo(at).LinkTarget is string target && links++ < MaxLinks
            ? Resolve(Path.GetFullPath(target, Path.GetDirectoryName(at)!), ref links)
            : at;
    }
}

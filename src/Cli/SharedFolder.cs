namespace LowLevelSpec.Cli;

/// <summary>Where real models and prompts may lie: the folder LLSPEC_SHARED names, else <c>shared</c> beside the repository or the current folder.</summary>
internal static class SharedFolder
{
    /// <summary>The folder, or null where there is none.</summary>
    public static string? Find()
    {
        string? named = Environment.GetEnvironmentVariable("LLSPEC_SHARED");
        if (!string.IsNullOrEmpty(named))
        {
            return Directory.Exists(named) ? named : null;
        }

        // A build lies in the repository's out/, whose solution file marks the root.
        for (DirectoryInfo? at = new(AppContext.BaseDirectory); at is not null; at = at.Parent)
        {
            if (File.Exists(Path.Combine(at.FullName, "LowLevelSpec.sln")))
            {
                return Existing(Path.Combine(at.FullName, "..", "shared"));
            }
        }

        return Existing(Path.Combine("..", "shared"));
    }

    private static string? Existing(string path) => Directory.Exists(path) ? Path.GetFullPath(path) : null;
}

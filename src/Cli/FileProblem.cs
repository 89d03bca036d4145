namespace LowLevelSpec.Cli;

/// <summary>What the system says about a file, in words of its own: .NET's messages repeat the path and name classes.</summary>
internal static class FileProblem
{
    /// <summary>The reason, e.g. "permission denied".</summary>
    public static string Reason(Exception problem) => problem switch
    {
        UnauthorizedAccessException => "permission denied",
        DirectoryNotFoundException => "no such folder",
        FileNotFoundException => "no such file",
        PathTooLongException => "the path is too long",
        _ => Bare(problem.Message),
    };

    /// <summary>The system's words without the path that .NET adds: "No space left on device : '/x'".</summary>
    private static string Bare(string message)
    {
        int path = message.IndexOf(" : '", StringComparison.Ordinal);
        return (path < 0 ? message : message[..path]).TrimEnd('.');
    }
}

namespace LowLevelSpec.Cli;

/// <summary>What the process returns; scripts rely on these.</summary>
internal static class ExitCode
{
    /// <summary>Done.</summary>
    public const int Well = 0;

    /// <summary>A file, value or prompt is unusable, or a check failed.</summary>
    public const int BadInput = 1;

    /// <summary>Unknown, missing or contradictory options.</summary>
    public const int WrongUsage = 2;

    /// <summary>A defect of llspec itself (sysexits' EX_SOFTWARE).</summary>
    public const int InternalError = 70;

    /// <summary>Ended by Ctrl-C (128 + SIGINT).</summary>
    public const int Interrupted = 130;
}

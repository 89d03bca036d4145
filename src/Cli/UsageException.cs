namespace LowLevelSpec.Cli;

/// <summary>Options that contradict each other or of which one is missing; the message is one sentence for the user.</summary>
internal sealed class UsageException(string message) : Exception(message);

namespace LowLevelSpec.Remote.Client;

/// <summary>What one generation has measured of link, server and drafter, kept for the next: its first calls then need not be guesses. Thread-safe.</summary>
internal sealed class KnownLink
{
    private CallPlanner? _free;

    /// <summary>The planner that was put back last, or a new one where another generation has it.</summary>
    public CallPlanner Take() => Interlocked.Exchange(ref _free, null) ?? new CallPlanner();

    /// <summary>Keeps a planner that is no longer used.</summary>
    public void PutBack(CallPlanner planner) => Volatile.Write(ref _free, planner);
}

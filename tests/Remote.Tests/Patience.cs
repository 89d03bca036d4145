namespace LowLevelSpec.Remote.Tests;

/// <summary>Waits for what comes some time: on a busy machine a thread may stand still for seconds, and no test measures time.</summary>
internal static class Patience
{
    /// <summary>After this long it is taken not to come.</summary>
    public static readonly TimeSpan Longest = TimeSpan.FromSeconds(60);

    /// <summary>Returns once <paramref name="condition"/> holds.</summary>
    /// <exception cref="TimeoutException">It does not for <see cref="Longest"/>.</exception>
    public static async Task UntilAsync(Func<bool> condition, string what)
    {
        using CancellationTokenSource over = new(Longest);
        while (!condition())
        {
            if (over.IsCancellationRequested)
            {
                throw new TimeoutException($"not within {Longest.TotalSeconds:0} s: {what}");
            }

            await Task.Delay(5);
        }
    }
}

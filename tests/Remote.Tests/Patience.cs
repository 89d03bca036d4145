using Xunit;

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

    /// <summary>
    /// Runs <paramref name="attempt"/> until it reports a link that was never cut, three times at most: a machine that stands still for a second looks like a cut link, and is rightly taken for one.
    /// </summary>
    /// <param name="attempt">Returns how often the client reconnected.</param>
    public static async Task WithoutCutAsync(Func<Task<int>> attempt)
    {
        int reconnects = 1;
        for (int i = 0; i < 3 && reconnects > 0; i++)
        {
            reconnects = await attempt();
            TestContext.Current.SendDiagnosticMessage($"attempt {i + 1}: reconnected {reconnects} times");
        }

        Assert.Equal(0, reconnects);
    }
}

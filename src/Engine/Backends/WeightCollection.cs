namespace LowLevelSpec.Engine.Backends;

/// <summary>How backends collect the weights that are loaded on a thread, see <see cref="IBackend.CollectWeights"/>.</summary>
internal static class WeightCollection
{
    /// <summary>Runs <paramref name="load"/> with <paramref name="group"/> as what the thread collects into, and returns it; frees it where loading fails.</summary>
    /// <param name="collecting">The thread's group; what it was before comes back.</param>
    /// <param name="group">Takes what is loaded.</param>
    /// <param name="load">Loads weights.</param>
    public static TGroup Run<TGroup>(ref TGroup? collecting, TGroup group, Action load) where TGroup : class, IDisposable
    {
        TGroup? outer = collecting;
        collecting = group;
        try
        {
            load();
            return group;
        }
        catch
        {
            group.Dispose();
            throw;
        }
        finally
        {
            collecting = outer;
        }
    }
}

namespace LowLevelSpec.Engine.Drafting;

/// <summary>How a drafter is opened.</summary>
public sealed record DrafterOptions
{
    /// <summary>N of target layer inference for a MoA checkpoint whose config does not say; null = the config's, else 0.</summary>
    public int? TargetLayerInference { get; init; }

    /// <summary>Position from which the drafter stops proposing (its trained length); 0 = the config's, else the target's context.</summary>
    public int MaxPosition { get; init; }
}

/// <summary>A drafter opened for one target: weights without per-generation state, so any number of generations may share it. Dispose after the last.</summary>
public abstract class Drafter : IDisposable
{
    /// <summary>"moa", "moa-tli1", "eagle", "independent", "lookup", "none".</summary>
    public abstract string Kind { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Closes the files; called twice it does nothing.</summary>
    protected virtual void Dispose(bool disposing)
    {
    }
}

using LowLevelSpec.Engine.Drafting.Adaptive;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Drafting;

/// <summary>How a drafter is opened.</summary>
public sealed record DrafterOptions
{
    /// <summary>N of target layer inference for a MoA checkpoint whose config does not say; null = the config's, else 0.</summary>
    public int? TargetLayerInference { get; init; }

    /// <summary>
    /// EAGLE-2 only: false follows the MoA authors' EAGLE-2, whose tree mask lies one column beside the cache (golden vectors and the paper's figures
    /// come from it); true gives each node exactly its ancestors, as EAGLE's own authors do. The text is the same either way.
    /// </summary>
    public bool AlignedEagleMask { get; init; }

    /// <summary>Token ids that the drafter's LM head scores, distinct; null = the checkpoint's own table, on the CPU with the tokens of the prompt besides, or else all; empty = all.</summary>
    public IReadOnlyList<int>? DraftVocabulary { get; init; }

    /// <summary>Position from which the drafter stops proposing (its trained length); 0 = the config's, else the target's context.</summary>
    public int MaxPosition { get; init; }

    /// <summary>
    /// Where a checkpoint drafts: "cpu" beside the target, "ilgpu:N" on a device of <see cref="Backends.Ilgpu.IlgpuDevices.List"/>, "auto" on the first GPU among them or else beside
    /// the target. The text is the same everywhere.
    /// </summary>
    public string Device { get; init; } = "cpu";
}

/// <summary>
/// A drafter opened for one target: weights without per-generation state, so any number of generations may share it. Thread-safe.
/// Disposing it while generations run is safe: its files stay open until the last of them has ended.
/// </summary>
public abstract class Drafter : IDisposable
{
    private readonly SharedLifetime _lifetime;
    private readonly Lock _costing = new();

    /// <summary>Creates the drafter.</summary>
    private protected Drafter() => _lifetime = new SharedLifetime(() =>
    {
        Weights?.Dispose();
        Release();
        Head?.Dispose();
    });

    /// <summary>"moa", "moa-tli1", "eagle", "independent", "lookup", "none".</summary>
    public abstract string Kind { get; }

    /// <summary>The device it has for itself, or null where it runs beside the target.</summary>
    public virtual string? DeviceName => null;

    /// <summary>Position from which it stops proposing; the text goes on without it.</summary>
    public int MaxPosition { get; internal set; } = int.MaxValue;

    /// <summary>Tokens that its LM head scores, of the target's vocabulary; null = all, or no LM head.</summary>
    public int? DraftVocabularySize => Head?.Tokens.Length;

    /// <summary>The LM head over a trimmed vocabulary; null = the whole one.</summary>
    internal DraftHead? Head { get; set; }

    /// <summary>The target it was opened for.</summary>
    internal LanguageModel? Owner { get; set; }

    internal SharedLifetime Lifetime => _lifetime;

    /// <summary>Frees its weights where they are copies in a device's memory.</summary>
    internal IDisposable? Weights { get; set; }

    /// <summary>What tells it from other drafters for the same target: its files and how it was opened.</summary>
    internal string Identity { get; set; } = "";

    /// <summary>What generations learn from each other; see <see cref="AdaptiveSession"/>.</summary>
    internal SpeculationRecord Record { get; } = new();

    /// <summary>What steps cost with it; measured when a tree first adapts.</summary>
    internal StepCosts? Costs { get; set; }

    internal abstract DraftSession CreateSession(DraftContext context);

    /// <summary>A session that drafts trees as the context's settings say: fixed ones, or whatever pays.</summary>
    internal DraftSession Begin(DraftContext context)
    {
        if (!context.Tree.Adapts)
        {
            return CreateSession(context);
        }

        DraftSession? inner = this is PromptLookupDrafter ? null : CreateSession(context);
        if (inner is not (null or LevelDraftSession))
        {
            // A drafter on a device of its own costs the target's processor nothing that could be saved.
            inner.Dispose();
            return CreateSession(context with { Tree = TreeSettings.Default });
        }

        try
        {
            return new AdaptiveSession(inner as LevelDraftSession, CostsHere(context), Record, context);
        }
        catch
        {
            inner?.Dispose();
            throw;
        }
    }

    private StepCosts CostsHere(DraftContext context)
    {
        lock (_costing)
        {
            if (Costs is null)
            {
                string? folder = Owner?.CacheFolder;
                string key = CostCache.Key(Owner?.Facts ?? [], [Kind, Identity]);
                Costs = CostCache.Read(folder, key);
                if (Costs is null)
                {
                    Costs = CostProbe.Measure(context.Backend, context.Target, this);
                    if (Costs.IsQuiet)
                    {
                        CostCache.Write(folder, key, Costs);
                    }
                }
            }

            return Costs;
        }
    }

    /// <summary>Closes the files once no generation uses them; called twice it does nothing.</summary>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Starts the release.</summary>
    protected virtual void Dispose(bool disposing)
    {
        if (disposing)
        {
            _lifetime.Dispose();
        }
    }

    /// <summary>Frees what the drafter owns; called once, when neither the caller nor a generation uses it.</summary>
    private protected virtual void Release()
    {
    }
}

/// <summary>No drafting: plain decoding through the same loop.</summary>
internal sealed class NoDrafter : Drafter
{
    public override string Kind => "none";

    internal override DraftSession CreateSession(DraftContext context) => new NoDraftSession(context.Sequence);

    private sealed class NoDraftSession(SequenceState sequence) : DraftSession
    {
        public override void Observe(in VerifiedRows rows)
        {
        }

        public override void Draft(DraftTree tree) => tree.Reset(new TokenId(sequence.Tokens[sequence.Count - 1]));
    }
}

/// <summary>Opens drafters by path or by name.</summary>
internal static class Drafters
{
    public static Drafter Open(LanguageModel owner, Backends.IBackend backend, Target.LlamaModel target, LlamaTensors tensors, string pathOrKind, DrafterOptions options)
    {
        if (options.MaxPosition < 0)
        {
            throw new InputException($"drafter option MaxPosition: found {options.MaxPosition}, expected 0 or a position");
        }

        if (options.DraftVocabulary is { Count: > 0 } && pathOrKind is ("none" or "lookup"))
        {
            throw new InputException($"drafter '{pathOrKind}' has no LM head to trim: leave the draft vocabulary out");
        }

        Drafter drafter = pathOrKind switch
        {
            "none" => new NoDrafter(),
            "lookup" => new PromptLookupDrafter(),
            _ when Backends.Ilgpu.IlgpuDevices.Open(options.Device) is { } device => DeviceDrafter.Open(backend, target, tensors, device, pathOrKind, options),
            _ => OpenCheckpoint(backend, target, tensors, pathOrKind, options),
        };
        drafter.Owner = owner;
        drafter.Identity = $"{CostCache.FileFact(pathOrKind)} {options with { DraftVocabulary = null }} {drafter.DraftVocabularySize}";
        if (options.MaxPosition > 0)
        {
            drafter.MaxPosition = options.MaxPosition;
        }

        return drafter;
    }

    internal static Drafter OpenCheckpoint(Backends.IBackend backend, Target.LlamaModel target, LlamaTensors tensors, string path, DrafterOptions options)
    {
        DrafterFile file = DrafterFile.Open(path, target.Config);
        try
        {
            if (file.Kind != DrafterKind.Moa && options.TargetLayerInference is > 0)
            {
                throw new InputException($"{path}: target layer inference is for MoA drafters; this is {file.Kind}; leave --tli out");
            }

            if (file.Moa?.TargetLayerInference is int trained && options.TargetLayerInference is int asked && asked != trained)
            {
                throw new InputException($"{path}: was trained for target layer inference {trained}, as its config says; found --tli {asked}; leave --tli out");
            }

            Drafter? made = null;
            IDisposable? weights = backend.CollectWeights(() =>
            {
                made = file.Kind switch
                {
                    DrafterKind.Moa => new MoaDrafter(backend, file, target, file.Moa!.TargetLayerInference ?? options.TargetLayerInference ?? 0),
                    DrafterKind.Eagle => new EagleDrafter(backend, file, target.Config, options.AlignedEagleMask),
                    _ => new IndependentDrafter(backend, file),
                };
                if ((options.DraftVocabulary ?? file.TrimmedVocabulary) is { Count: > 0 } tokens)
                {
                    made.Head = new DraftHead(backend, file.Independent?.LmHead ?? tensors.LmHead, tokens, followsText: options.DraftVocabulary is null);
                }
            });
            Drafter drafter = made!;
            drafter.Weights = weights;
            drafter.MaxPosition = file.TrainedLength ?? int.MaxValue;
            return drafter;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }
}

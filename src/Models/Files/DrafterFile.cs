namespace LowLevelSpec.Models;

/// <summary>What kind of drafter a checkpoint holds.</summary>
public enum DrafterKind
{
    /// <summary>Mixture of Attentions.</summary>
    Moa,

    /// <summary>EAGLE-2.</summary>
    Eagle,

    /// <summary>A small Llama of its own.</summary>
    Independent,
}

/// <summary>A drafter's weights on disk, checked against the target it is to draft for.</summary>
/// <remarks>Files are mapped, not read: replace them by rename only, as shortening a mapped file ends the process that reads it.</remarks>
public sealed class DrafterFile : IDisposable
{
    private readonly WeightSet _weights;

    private DrafterFile(WeightSet weights, DrafterKind kind)
    {
        _weights = weights;
        Kind = kind;
        AllTensors = [.. weights.AllTensors];
    }

    /// <summary>The path it was opened from.</summary>
    public string Path => _weights.Location.Path;

    /// <summary>Which of the three following properties is set.</summary>
    public DrafterKind Kind { get; }

    /// <summary>Mixture-of-Attentions weights.</summary>
    public MoaTensors? Moa { get; private init; }

    /// <summary>EAGLE-2 weights.</summary>
    public EagleTensors? Eagle { get; private init; }

    /// <summary>An independent Llama's weights.</summary>
    public LlamaTensors? Independent { get; private init; }

    /// <summary>Token ids of a trimmed draft vocabulary, see <see cref="DraftVocabulary"/>; null where the drafter scores all of the target's.</summary>
    public IReadOnlyList<int>? TrimmedVocabulary { get; private set; }

    /// <summary>Longest sequence it was trained on (<c>max_position_embeddings</c> of a <c>moa_spec</c> config or of an independent model), null where the config does not say.</summary>
    public int? TrainedLength { get; private init; }

    /// <summary>"safetensors" or "gguf".</summary>
    public string Format => _weights.Gguf is null ? "safetensors" : "gguf";

    /// <summary>Every tensor of the file or files, in their order.</summary>
    public IReadOnlyList<TensorInfo> AllTensors { get; }

    /// <summary>Number of tensors in the file or files.</summary>
    public int TensorCount => AllTensors.Count;

    /// <summary>Elements of all weights in use.</summary>
    public long ParameterCount => _weights.ParameterCount;

    /// <summary>Bytes of the weight files together.</summary>
    public long FileBytes => _weights.FileBytes;

    /// <summary>Opens a drafter checkpoint. Sizes come from its config or, where absent there, from tensor shapes.</summary>
    /// <param name="path">Folder, .safetensors, or (independent drafters) .gguf.</param>
    /// <param name="target">The target's sizes; the drafter must fit them.</param>
    /// <exception cref="ModelFileException">Missing, malformed, unknown or ill-shaped content, or a drafter made for another target.</exception>
    public static DrafterFile Open(string path, LlamaConfig target)
    {
        ArgumentNullException.ThrowIfNull(target);
        WeightSet weights = WeightSet.Open(ModelLocation.Find(path));
        try
        {
            int[]? trimmed = DraftVocabulary.Read(weights, target);
            DrafterFile file = KindOf(weights) switch
            {
                DrafterKind.Moa => OpenMoa(weights, JsonConfig.Read(weights.Location.Config), target),
                DrafterKind.Eagle => OpenEagle(weights, JsonConfig.Read(weights.Location.Config), target),
                _ => OpenIndependent(weights, target),
            };
            file.TrimmedVocabulary = trimmed;
            return file;
        }
        catch
        {
            weights.Dispose();
            throw;
        }
    }

    /// <summary>Its tensors and where they lie, for those that copy them.</summary>
    internal WeightSet Weights => _weights;

    /// <summary>The drafter inside a client pack; on success the result owns <paramref name="weights"/>.</summary>
    internal static DrafterFile FromPack(WeightSet weights, DrafterKind kind, JsonConfig json, LlamaConfig target) => kind == DrafterKind.Moa
        ? OpenMoa(weights, json, target)
        : OpenEagle(weights, json, target);

    /// <summary>Reads every weight that inference uses (seconds per gigabyte); opening a model does not.</summary>
    /// <returns>Name of the first tensor that holds a NaN or an infinity, or null.</returns>
    public string? FindNonFinite() => _weights.FindNonFinite();

    /// <inheritdoc/>
    public void Dispose() => _weights.Dispose();

    private static DrafterFile OpenEagle(WeightSet weights, JsonConfig json, LlamaConfig target) =>
        new(weights, DrafterKind.Eagle) { Eagle = DrafterLoader.Eagle(weights, json, target) };

    private static DrafterFile OpenMoa(WeightSet weights, JsonConfig json, LlamaConfig target)
    {
        return new DrafterFile(weights, DrafterKind.Moa)
        {
            Moa = DrafterLoader.Moa(weights, json, target),

            // The authors' trainer copies the target's config, whose length says nothing about the drafter.
            TrainedLength = json.OptionalString("model_type") == DrafterLoader.MoaModelType ? json.OptionalInt("max_position_embeddings", 1, ModelLimits.Context) : null,
        };
    }

    private static DrafterFile OpenIndependent(WeightSet weights, LlamaConfig target)
    {
        LlamaTensors tensors = ModelFile.FromWeights(weights).Tensors;
        if (tensors.Config.VocabularySize != target.VocabularySize)
        {
            throw new ModelFileException(
                weights.Location.Weights,
                $"tensor {FileErrors.Quote(tensors.Embedding.Name)} has shape {FileErrors.Shape(tensors.Embedding.Shape)}, expected {target.VocabularySize} rows, one per token of the target; the drafter was made for another target, choose one with the target's vocabulary");
        }

        return new DrafterFile(weights, DrafterKind.Independent) { Independent = tensors, TrainedLength = tensors.Config.ContextLength };
    }

    private static DrafterKind KindOf(WeightSet weights)
    {
        if (weights.Gguf is not null)
        {
            return DrafterKind.Independent;
        }

        if (DrafterLoader.MoaPrefixes.Any(weights.HasPrefix))
        {
            return DrafterKind.Moa;
        }

        return weights.HasPrefix(DrafterLoader.EaglePrefix) ? DrafterKind.Eagle
            : weights.HasPrefix("model.layers.") ? DrafterKind.Independent
            : throw new ModelFileException(
                weights.Location.Weights,
                "holds no drafter, expected tensors named cross_attention.* (Mixture of Attentions), spec_model.* (EAGLE) or model.layers.* (a model of its own); check the path");
    }
}

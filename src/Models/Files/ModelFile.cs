namespace LowLevelSpec.Models;

/// <summary>A target's weights on disk: a Hugging Face folder, a single <c>.safetensors</c> (with its config.json beside it) or a <c>.gguf</c>.</summary>
/// <remarks>Files are mapped, not read: replace them by rename only, as shortening a mapped file ends the process that reads it.</remarks>
public sealed class ModelFile : IDisposable
{
    private readonly WeightSet _weights;

    private ModelFile(WeightSet weights, LlamaTensors tensors)
    {
        _weights = weights;
        Tensors = tensors;
        AllTensors = [.. weights.AllTensors];
    }

    /// <summary>The path it was opened from.</summary>
    public string Path => _weights.Location.Path;

    /// <summary>Weights, mapped; valid until Dispose.</summary>
    public LlamaTensors Tensors { get; }

    /// <summary>"safetensors" or "gguf".</summary>
    public string Format => _weights.Gguf is null ? "safetensors" : "gguf";

    /// <summary>Every tensor of the file or files, in their order, also those that inference does not use.</summary>
    public IReadOnlyList<TensorInfo> AllTensors { get; }

    /// <summary>Number of tensors in the file or files.</summary>
    public int TensorCount => AllTensors.Count;

    /// <summary>Elements of all weights that inference uses, a tied table counted once.</summary>
    public long ParameterCount => _weights.ParameterCount;

    /// <summary>Bytes of the weight files together.</summary>
    public long FileBytes => _weights.FileBytes;

    /// <summary>Metadata of a GGUF file (tokenizer and chat template included), see <see cref="GgufFile.Metadata"/>; null for safetensors.</summary>
    public IReadOnlyDictionary<string, object>? GgufMetadata => _weights.Gguf?.Metadata;

    /// <summary>Opens and checks a model: every tensor that its config needs, with its shape and a type the engine runs.</summary>
    /// <exception cref="ModelFileException">Missing, malformed, unknown or ill-shaped content.</exception>
    public static ModelFile Open(string path)
    {
        WeightSet weights = WeightSet.Open(ModelLocation.Find(path));
        try
        {
            return FromWeights(weights);
        }
        catch
        {
            weights.Dispose();
            throw;
        }
    }

    /// <summary>Reads every weight that inference uses (seconds per gigabyte); opening a model does not.</summary>
    /// <returns>Name of the first tensor that holds a NaN or an infinity, or null.</returns>
    public string? FindNonFinite() => _weights.FindNonFinite();

    /// <inheritdoc/>
    public void Dispose() => _weights.Dispose();

    /// <summary>Reads config and tensors; on success the result owns <paramref name="weights"/>.</summary>
    internal static ModelFile FromWeights(WeightSet weights)
    {
        bool gguf = weights.Gguf is not null;
        LlamaConfig config = gguf ? GgufConfig.Read(weights.Gguf!) : HuggingFaceConfig.Read(weights.Location.Config);
        DrafterLayerConfig sizes = new(config.HiddenSize, config.Heads, config.KvHeads, config.HeadSize, config.IntermediateSize);
        BiasRule bias = config.AttentionBias ? BiasRule.Always : BiasRule.Never, outputBias = config.OutputBias ? BiasRule.Always : BiasRule.Never;

        // llama.cpp's converter reorders the rows of q and k for architecture llama alone.
        bool interleaved = gguf && config.ModelType == "llama";
        LayerTensors[] layers = new LayerTensors[config.Layers];
        for (int i = 0; i < layers.Length; i++)
        {
            layers[i] = LayerLoader.Load(weights, gguf ? LayerNames.Gguf(i) : LayerNames.HuggingFace($"model.layers.{i}."), sizes, bias, interleaved, outputBias);
        }

        string head = gguf ? "output.weight" : "lm_head.weight";
        TensorView embedding = weights.Take(gguf ? LayerNames.GgufEmbedding : "model.embed_tokens.weight", WeightUse.Matrix, config.VocabularySize, config.HiddenSize);
        LlamaTensors tensors = new()
        {
            Config = config,
            Embedding = embedding,
            Layers = layers,
            FinalNorm = weights.Take(gguf ? "output_norm.weight" : "model.norm.weight", WeightUse.Vector, config.HiddenSize),
            LmHead = config.TiedEmbeddings ? embedding : weights.Take(head, WeightUse.Matrix, config.VocabularySize, config.HiddenSize),
        };

        // Some exports store the tied head a second time; its divisors of frequencies became the config's scaling.
        weights.Ignore(head);
        weights.Ignore(gguf ? GgufConfig.RopeFactorsTensor : "");
        weights.RefuseLeftovers($"a {config.ModelType} model of {config.Layers} layers");
        return new ModelFile(weights, tensors);
    }
}

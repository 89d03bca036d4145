namespace LowLevelSpec.Models;

/// <summary>Reads a target's sizes from a GGUF file's metadata (architectures <c>llama</c> and <c>qwen2</c>).</summary>
internal static class GgufConfig
{
    public const string RopeFactorsTensor = "rope_freqs.weight";
    private const float DefaultTheta = 10000f;
    private const int Llama3OriginalContext = 8192;

    public static LlamaConfig Read(GgufFile file)
    {
        GgufMetadata metadata = new(file.Path, file.Metadata);
        string type = metadata.OptionalString("general.architecture")
            ?? throw new ModelFileException(file.Path, "metadata 'general.architecture' is missing, expected 'llama' or 'qwen2'; convert the model again");
        if (type is not ("llama" or "qwen2"))
        {
            throw metadata.Wrong("general.architecture", type, "one of the known architectures 'llama' and 'qwen2'");
        }

        int hidden = metadata.Int($"{type}.embedding_length", 1, ModelLimits.Hidden);
        int heads = metadata.Int($"{type}.attention.head_count", 1, ModelLimits.Heads);
        int kvHeads = metadata.OptionalInt($"{type}.attention.head_count_kv", 1, ModelLimits.Heads) ?? heads;
        if (heads % kvHeads != 0)
        {
            throw metadata.Wrong($"{type}.attention.head_count_kv", kvHeads, $"a divisor of the {heads} query heads");
        }

        int headSize = HeadSize(metadata, type, hidden, heads);
        RefuseWhatTheEngineLacks(metadata, type);
        int vocabulary = Vocabulary(file, hidden);
        string sizeKey = $"{type}.vocab_size";
        if (metadata.OptionalInt(sizeKey, 1, ModelLimits.Vocabulary) is int named && named != vocabulary)
        {
            throw metadata.Wrong(sizeKey, named, $"{vocabulary}, the rows of '{LayerNames.GgufEmbedding}'");
        }

        float theta = metadata.OptionalFloat($"{type}.rope.freq_base", 0, float.PositiveInfinity) ?? DefaultTheta;
        int?[] ends = [metadata.TokenId("tokenizer.ggml.eos_token_id", vocabulary), metadata.TokenId("tokenizer.ggml.eot_token_id", vocabulary)];
        return new LlamaConfig
        {
            ModelType = type,
            VocabularySize = vocabulary,
            HiddenSize = hidden,
            Layers = metadata.Int($"{type}.block_count", 1, ModelLimits.Layers),
            Heads = heads,
            KvHeads = kvHeads,
            HeadSize = headSize,
            IntermediateSize = metadata.Int($"{type}.feed_forward_length", 1, ModelLimits.Intermediate),
            RmsNormEpsilon = metadata.Float($"{type}.attention.layer_norm_rms_epsilon", 0, 1),
            RopeTheta = theta,
            RopeScaling = Scaling(file, metadata, type, theta, headSize),
            ContextLength = metadata.Int($"{type}.context_length", 1, ModelLimits.Context),
            TiedEmbeddings = !Holds(file, "output.weight"),
            AttentionBias = type == "qwen2" || Holds(file, LayerNames.Gguf(0).QueryBias),
            OutputBias = Holds(file, LayerNames.Gguf(0).OutputBias),
            BeginToken = metadata.TokenId("tokenizer.ggml.bos_token_id", vocabulary),
            EndTokens = [.. ends.OfType<int>().Distinct()],
        };
    }

    private static int HeadSize(GgufMetadata metadata, string type, int hidden, int heads)
    {
        string key = $"{type}.attention.key_length";
        int size;
        if (metadata.OptionalInt(key, 1, ModelLimits.HeadSize) is int given)
        {
            size = given % 2 == 0 ? given : throw metadata.Wrong(key, given, "an even number, as RoPE turns pairs");
        }
        else if (hidden % heads == 0 && hidden / heads % 2 == 0)
        {
            size = hidden / heads;
        }
        else
        {
            throw metadata.Wrong($"{type}.attention.head_count", heads, $"a divisor of the hidden size {hidden} that leaves an even head size, or {key}");
        }

        foreach (string other in (string[])[$"{type}.attention.value_length", $"{type}.rope.dimension_count"])
        {
            if (metadata.OptionalInt(other, 0, int.MaxValue) is int found && found != size)
            {
                throw metadata.Wrong(other, found, $"the head size {size}");
            }
        }

        return size;
    }

    private static void RefuseWhatTheEngineLacks(GgufMetadata metadata, string type)
    {
        string scaling = $"{type}.rope.scaling.type";
        if (metadata.OptionalString(scaling) is string found && found is not "none")
        {
            throw metadata.Wrong(scaling, found, "'none' or absent");
        }

        foreach (string factor in (string[])[$"{type}.rope.scaling.factor", $"{type}.rope.scale_linear"])
        {
            if (metadata.OptionalFloat(factor, 0, float.PositiveInfinity) is float value && value != 1)
            {
                throw metadata.Wrong(factor, value, "1 or absent");
            }
        }

        foreach (string count in (string[])[$"{type}.expert_count", $"{type}.attention.sliding_window"])
        {
            if (metadata.OptionalInt(count, 0, int.MaxValue) is > 0 and int value)
            {
                throw metadata.Wrong(count, value, "0 or absent, as the engine has no code for it");
            }
        }
    }

    private static int Vocabulary(GgufFile file, int hidden)
    {
        TensorView table = file.Get(LayerNames.GgufEmbedding);
        return table.Shape is [> 0 and <= ModelLimits.Vocabulary and long vocabulary, long columns] && columns == hidden
            ? (int)vocabulary
            : throw new ModelFileException(file.Path, $"tensor '{table.Name}' has shape {FileErrors.Shape(table.Shape)}, expected [vocabulary up to {ModelLimits.Vocabulary}, {hidden}]; convert the model again");
    }

    private static bool Holds(GgufFile file, string name) => file.AllTensors.Any(t => t.Name == name);

    /// <summary>
    /// Converters write Llama 3.1's scaling as one divisor per frequency and drop the numbers behind it. They come back from the
    /// divisors: the released models' numbers are tried first, then a line through the blended band gives an equivalent set.
    /// </summary>
    private static RopeScaling? Scaling(GgufFile file, GgufMetadata metadata, string type, float theta, int headSize)
    {
        if (!Holds(file, RopeFactorsTensor))
        {
            return null;
        }

        TensorView tensor = file.Get(RopeFactorsTensor);
        if (tensor.Type != TensorType.F32 || tensor.Shape.Count != 1 || tensor.Shape[0] != headSize / 2)
        {
            throw new ModelFileException(file.Path, $"tensor '{RopeFactorsTensor}' is {tensor.Type} {FileErrors.Shape(tensor.Shape)}, expected F32 [{headSize / 2}]; convert the model again");
        }

        float[] divisors = Dequantizer.All(tensor);
        int original = metadata.OptionalInt($"{type}.rope.scaling.original_context_length", 1, ModelLimits.Context) ?? Llama3OriginalContext;
        return Llama3Divisors.TryRecover(divisors, theta, original, out RopeScaling? scaling)
            ? scaling
            : throw new ModelFileException(file.Path, $"tensor '{RopeFactorsTensor}' holds frequency divisors that are not those of llama3 RoPE scaling, expected llama3's or all ones; choose a model with one of these");
    }
}

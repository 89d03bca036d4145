namespace LowLevelSpec.Models;

/// <summary>Reads Hugging Face's <c>config.json</c> (and <c>generation_config.json</c>) of a Llama or Qwen2 model.</summary>
internal static class HuggingFaceConfig
{
    /// <summary>Hugging Face's default where the file does not say.</summary>
    private const float DefaultTheta = 10000f;

    /// <summary>Reads the sizes from <paramref name="path"/>; end tokens also from generation_config.json beside it.</summary>
    public static LlamaConfig Read(string path)
    {
        string generation = Path.Combine(Path.GetDirectoryName(path) ?? "", "generation_config.json");
        return Read(JsonConfig.Read(path), File.Exists(generation) ? JsonConfig.Read(generation) : null);
    }

    /// <summary>Reads the sizes from a config; end tokens also from a generation config.</summary>
    public static LlamaConfig Read(JsonConfig json, JsonConfig? generation)
    {
        string type = json.OptionalString("model_type") ?? throw json.Refuse("model_type", "absent", "'llama' or 'qwen2'");
        if (type is not ("llama" or "qwen2"))
        {
            throw json.Refuse("model_type", FileErrors.Quote(type), "one of the known types 'llama' and 'qwen2'");
        }

        RefuseWhatTheEngineLacks(json, type);
        int hidden = json.Int("hidden_size", 1, ModelLimits.Hidden);
        int heads = json.Int("num_attention_heads", 1, ModelLimits.Heads);
        int kvHeads = json.OptionalInt("num_key_value_heads", 1, ModelLimits.Heads) ?? heads;
        if (heads % kvHeads != 0)
        {
            throw json.Refuse("num_key_value_heads", $"{kvHeads}", $"a divisor of num_attention_heads ({heads})");
        }

        int headSize = HeadSize(json, hidden, heads);
        int vocabulary = json.Int("vocab_size", 1, ModelLimits.Vocabulary);
        (float theta, RopeScaling? scaling) = Rope(json);
        return new LlamaConfig
        {
            ModelType = type,
            VocabularySize = vocabulary,
            HiddenSize = hidden,
            Layers = json.Int("num_hidden_layers", 1, ModelLimits.Layers),
            Heads = heads,
            KvHeads = kvHeads,
            HeadSize = headSize,
            IntermediateSize = json.Int("intermediate_size", 1, ModelLimits.Intermediate),
            RmsNormEpsilon = Epsilon(json) ?? throw json.Refuse("rms_norm_eps", "absent", "a number above 0 and below 1"),
            RopeTheta = theta,
            RopeScaling = scaling,
            ContextLength = json.Int("max_position_embeddings", 1, ModelLimits.Context),
            TiedEmbeddings = json.Bool("tie_word_embeddings"),
            AttentionBias = type == "qwen2" || json.Bool("attention_bias"),
            OutputBias = type == "llama" && json.Bool("attention_bias"),
            BeginToken = json.TokenIds("bos_token_id", vocabulary) is [int begin, ..] ? begin : null,
            EndTokens = EndTokens(json, generation, vocabulary),
        };
    }

    /// <summary>RMSNorm's epsilon, null where the file does not say.</summary>
    public static float? Epsilon(JsonConfig json) => json.OptionalFloat("rms_norm_eps", 0, 1);

    /// <summary>RoPE base, null where the file does not say; newer files keep it in <c>rope_parameters</c>.</summary>
    public static float? Theta(JsonConfig json) =>
        json.OptionalFloat("rope_theta", 0, float.PositiveInfinity)
        ?? json.OptionalObject("rope_parameters")?.OptionalFloat("rope_theta", 0, float.PositiveInfinity);

    private static void RefuseWhatTheEngineLacks(JsonConfig json, string type)
    {
        if (json.Has("quantization_config"))
        {
            throw json.Refuse("quantization_config", "present", "unquantised safetensors weights (GGUF is the supported quantised format)");
        }

        if (json.OptionalString("hidden_act") is string act && act != "silu")
        {
            throw json.Refuse("hidden_act", FileErrors.Quote(act), "'silu'");
        }

        foreach (string key in (string[])["use_sliding_window", "mlp_bias"])
        {
            if (json.Bool(key))
            {
                throw json.Refuse(key, "true", "false or absent, as the engine has no code for it");
            }
        }

        if (json.OptionalFloat("partial_rotary_factor", 0, float.PositiveInfinity) is float part && part != 1)
        {
            throw json.Refuse("partial_rotary_factor", $"{part}", "1 or absent");
        }
    }

    private static int HeadSize(JsonConfig json, int hidden, int heads)
    {
        if (json.OptionalInt("head_dim", 1, ModelLimits.HeadSize) is int given)
        {
            return given % 2 == 0 ? given : throw json.Refuse("head_dim", $"{given}", "an even number, as RoPE turns pairs");
        }

        if (hidden % heads != 0 || hidden / heads % 2 != 0)
        {
            throw json.Refuse("num_attention_heads", $"{heads}", $"a divisor of hidden_size ({hidden}) that leaves an even head size, or a head_dim");
        }

        return hidden / heads;
    }

    private static (float Theta, RopeScaling? Scaling) Rope(JsonConfig json)
    {
        float theta = Theta(json) ?? DefaultTheta;
        JsonConfig? old = json.OptionalObject("rope_scaling"), now = json.OptionalObject("rope_parameters");
        return (theta, Scaling(now, "rope_parameters") ?? Scaling(old, "rope_scaling"));

        RopeScaling? Scaling(JsonConfig? rope, string key)
        {
            if (rope is null)
            {
                return null;
            }

            string type = rope.OptionalString("rope_type") ?? rope.OptionalString("type")
                ?? (key == "rope_parameters" && rope.Has("rope_theta") ? "default" : throw rope.Refuse("rope_type", "absent", "'default' or 'llama3'"));
            if (rope.OptionalFloat("partial_rotary_factor", 0, float.PositiveInfinity) is float part && part != 1)
            {
                throw rope.Refuse("partial_rotary_factor", $"{part}", "1 or absent");
            }

            return type switch
            {
                "default" => null,
                "llama3" => Llama3(rope),
                _ => throw rope.Refuse("rope_type", FileErrors.Quote(type), "'default' or 'llama3'"),
            };
        }
    }

    private static RopeScaling Llama3(JsonConfig rope)
    {
        RopeScaling scaling = new(
            rope.Float("factor", 0, float.PositiveInfinity),
            rope.Float("low_freq_factor", 0, float.PositiveInfinity),
            rope.Float("high_freq_factor", 0, float.PositiveInfinity),
            rope.Int("original_max_position_embeddings", 1, ModelLimits.Context));
        if (scaling.Factor < 1)
        {
            throw rope.Refuse("factor", $"{scaling.Factor}", "at least 1");
        }

        return scaling.HighFrequencyFactor > scaling.LowFrequencyFactor
            ? scaling
            : throw rope.Refuse("high_freq_factor", $"{scaling.HighFrequencyFactor}", $"more than low_freq_factor ({scaling.LowFrequencyFactor})");
    }

    private static IReadOnlyList<int> EndTokens(JsonConfig json, JsonConfig? generation, int vocabulary) =>
        [.. json.TokenIds("eos_token_id", vocabulary).Concat(generation?.TokenIds("eos_token_id", vocabulary) ?? []).Distinct()];
}

using System.Text.Json.Nodes;
using Xunit;

namespace LowLevelSpec.Models.Tests.Files;

/// <summary>Small checkpoints with random weights that tests save as they are or bend first. Sizes: V 40, E 32, H 4, K 2, D 8, F 64, L 2, Ekv 32.</summary>
internal sealed class TinyCheckpoint
{
    private readonly Random _random = new(7);

    public JsonObject Config { get; private init; } = [];

    public Dictionary<string, (TensorType Type, long[] Shape, float[] Values)> Tensors { get; } = new(StringComparer.Ordinal);

    public static LlamaConfig TargetConfig { get; } = new()
    {
        ModelType = "llama",
        VocabularySize = 40,
        HiddenSize = 32,
        Layers = 2,
        Heads = 4,
        KvHeads = 2,
        HeadSize = 8,
        IntermediateSize = 64,
        RmsNormEpsilon = 1e-5f,
        RopeTheta = 10000,
        ContextLength = 128,
    };

    public static TinyCheckpoint Target(string type = "llama", bool tied = false)
    {
        TinyCheckpoint made = new() { Config = TargetJson(type, tied) };
        made.Add("model.embed_tokens.weight", 40, 32);
        for (int i = 0; i < 2; i++)
        {
            made.AddLayer($"model.layers.{i}.", 32, 32, 16, 64, type == "qwen2");
        }

        made.Add("model.norm.weight", 32);
        if (!tied)
        {
            made.Add("lm_head.weight", 40, 32);
        }

        return made;
    }

    public static TinyCheckpoint Moa(string type = "llama", bool lsa = true)
    {
        TinyCheckpoint made = new() { Config = TargetJson(type, tied: false) };
        if (lsa)
        {
            made.AddLayer("layer_self_attention.", 32, 32, 16, 16, type == "qwen2");
        }

        made.AddLayer("self_attention.", 32, 32, 16, 24, type == "qwen2");
        made.AddLayer("cross_attention.", 32, 32, 8, 40, biased: false);
        made.Add("Ekv2E.weight", 32, 32);
        made.Add("Ekv2E.bias", 32);
        return made;
    }

    public static TinyCheckpoint MoaSpec()
    {
        TinyCheckpoint made = Moa();
        made.Config.Clear();
        foreach ((string key, JsonNode value) in new (string, JsonNode)[]
        {
            ("model_type", "moa_spec"), ("hidden_size", 32), ("kv_hidden_size", 32), ("num_attention_heads", 4), ("vocab_size", 40),
            ("layer_self_attention_num_key_value_heads", 2), ("self_attention_num_key_value_heads", 2), ("cross_attention_num_key_value_heads", 1),
            ("layer_self_attention_intermediate_size", 16), ("self_attention_intermediate_size", 24), ("cross_attention_intermediate_size", 40),
            ("rms_norm_eps", 1e-4), ("rope_theta", 500.0), ("disable_LSA", false), ("target_layer_inference", 1), ("max_position_embeddings", 2048),
        })
        {
            made.Config[key] = value;
        }

        return made;
    }

    public static TinyCheckpoint Eagle(bool fcBias = false)
    {
        TinyCheckpoint made = new() { Config = TargetJson("llama", tied: false) };
        made.AddLayer("spec_model.", 32, 32, 8, 48, biased: false);
        made.Add("spec_model_fc.weight", 32, 64);
        if (fcBias)
        {
            made.Add("spec_model_fc.bias", 32);
        }

        return made;
    }

    public void Add(string name, params long[] shape)
    {
        float[] values = new float[shape.Aggregate(1L, static (a, b) => a * b)];
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = (_random.NextSingle() * 2) - 1;
        }

        Tensors[name] = (TensorType.F32, shape, values);
    }

    /// <summary>Replaces a tensor by one of another shape.</summary>
    public TinyCheckpoint Reshape(string name, params long[] shape)
    {
        Assert.True(Tensors.ContainsKey(name), name);
        Add(name, shape);
        return this;
    }

    public TinyCheckpoint Without(string name)
    {
        Assert.True(Tensors.Remove(name), name);
        return this;
    }

    public TinyCheckpoint With(string key, JsonNode? value)
    {
        Config[key] = value;
        return this;
    }

    /// <summary>Saves config.json and model.safetensors.</summary>
    public string Save(string folder, TensorType type = TensorType.F32)
    {
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "config.json"), Config.ToJsonString());
        Writer(_ => true, type).Write(Path.Combine(folder, "model.safetensors"));
        return folder;
    }

    public SafetensorsWriter Writer(Predicate<string> include, TensorType type = TensorType.F32)
    {
        SafetensorsWriter writer = new();
        foreach ((string name, (_, long[] shape, float[] values)) in Tensors)
        {
            if (include(name))
            {
                writer.Add(name, shape, values, type);
            }
        }

        return writer;
    }

    /// <summary>The target as GGUF, rows of q and k permuted as llama.cpp's converter does for architecture llama.</summary>
    public GgufWriter ToGguf(TensorType matrices = TensorType.F32, Action<Dictionary<string, object>>? bend = null)
    {
        string type = Config["model_type"]!.GetValue<string>();
        Dictionary<string, object> metadata = new(StringComparer.Ordinal)
        {
            ["general.architecture"] = type,
            [$"{type}.embedding_length"] = 32u,
            [$"{type}.block_count"] = 2u,
            [$"{type}.feed_forward_length"] = 64u,
            [$"{type}.attention.head_count"] = 4u,
            [$"{type}.attention.head_count_kv"] = 2u,
            [$"{type}.attention.layer_norm_rms_epsilon"] = 1e-5f,
            [$"{type}.context_length"] = 128u,
            [$"{type}.rope.freq_base"] = 10000f,
            ["tokenizer.ggml.bos_token_id"] = 1u,
            ["tokenizer.ggml.eos_token_id"] = 2u,
            ["tokenizer.ggml.eot_token_id"] = 3u,
            ["tokenizer.ggml.tokens"] = Enumerable.Range(0, 40).Select(static i => $"t{i}").ToArray(),
        };
        bend?.Invoke(metadata);
        GgufWriter writer = new();
        foreach ((string key, object value) in metadata)
        {
            writer.Set(key, value);
        }

        foreach ((string name, (_, long[] shape, float[] values)) in Tensors)
        {
            bool query = name.Contains("q_proj", StringComparison.Ordinal), key = name.Contains("k_proj", StringComparison.Ordinal);
            float[] stored = type == "llama" && (query || key) ? Interleave(values, query ? 4 : 2) : values;
            writer.Add(GgufName(name), shape.Length == 1 ? TensorType.F32 : matrices, shape, stored);
        }

        return writer;
    }

    public static string GgufName(string name) => name
        .Replace("model.embed_tokens", "token_embd", StringComparison.Ordinal).Replace("model.layers", "blk", StringComparison.Ordinal)
        .Replace("model.norm", "output_norm", StringComparison.Ordinal).Replace("lm_head", "output", StringComparison.Ordinal)
        .Replace("input_layernorm", "attn_norm", StringComparison.Ordinal).Replace("post_attention_layernorm", "ffn_norm", StringComparison.Ordinal)
        .Replace("self_attn.o_proj", "attn_output", StringComparison.Ordinal).Replace("self_attn.", "attn_", StringComparison.Ordinal)
        .Replace("mlp.", "ffn_", StringComparison.Ordinal).Replace("_proj", "", StringComparison.Ordinal);

    /// <summary>Per head: [2, D/2] rows become [D/2, 2]; a row is whatever one element of the outer dimension holds.</summary>
    private static float[] Interleave(float[] values, int heads)
    {
        float[] result = new float[values.Length];
        int head = values.Length / heads, row = head / 8;
        for (int h = 0; h < heads; h++)
        {
            for (int half = 0; half < 2; half++)
            {
                for (int i = 0; i < 4; i++)
                {
                    values.AsSpan((h * head) + (((half * 4) + i) * row), row).CopyTo(result.AsSpan((h * head) + (((i * 2) + half) * row), row));
                }
            }
        }

        return result;
    }

    private void AddLayer(string prefix, int hidden, int query, int kv, int mlp, bool biased)
    {
        Add($"{prefix}input_layernorm.weight", hidden);
        Add($"{prefix}post_attention_layernorm.weight", hidden);
        Add($"{prefix}self_attn.q_proj.weight", query, hidden);
        Add($"{prefix}self_attn.k_proj.weight", kv, hidden);
        Add($"{prefix}self_attn.v_proj.weight", kv, hidden);
        Add($"{prefix}self_attn.o_proj.weight", hidden, query);
        Add($"{prefix}mlp.gate_proj.weight", mlp, hidden);
        Add($"{prefix}mlp.up_proj.weight", mlp, hidden);
        Add($"{prefix}mlp.down_proj.weight", hidden, mlp);
        if (biased)
        {
            Add($"{prefix}self_attn.q_proj.bias", query);
            Add($"{prefix}self_attn.k_proj.bias", kv);
            Add($"{prefix}self_attn.v_proj.bias", kv);
        }
    }

    private static JsonObject TargetJson(string type, bool tied) => new()
    {
        ["model_type"] = type,
        ["vocab_size"] = 40,
        ["hidden_size"] = 32,
        ["intermediate_size"] = 64,
        ["num_hidden_layers"] = 2,
        ["num_attention_heads"] = 4,
        ["num_key_value_heads"] = 2,
        ["max_position_embeddings"] = 128,
        ["rms_norm_eps"] = 1e-5,
        ["rope_theta"] = 10000.0,
        ["rope_scaling"] = null,
        ["hidden_act"] = "silu",
        ["tie_word_embeddings"] = tied,
        ["bos_token_id"] = 0,
        ["eos_token_id"] = 1,
    };
}

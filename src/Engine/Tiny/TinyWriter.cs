using System.Text.Json;
using System.Text.Json.Nodes;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Tiny;

/// <summary>Sizes of a generated model.</summary>
internal sealed record TinySizes(int Vocabulary, int Hidden, int Layers, int Heads, int KvHeads, int Intermediate, int Context)
{
    /// <summary>D.</summary>
    public int HeadSize => Hidden / Heads;

    /// <summary>Ekv.</summary>
    public int KvSize => 2 * KvHeads * HeadSize;
}

/// <summary>Writes seeded random models and drafters as Hugging Face folders. <c>strength</c> scales what a layer adds to its input: 0 = identity.</summary>
internal static class TinyWriter
{
    public static void Target(string folder, TinySizes sizes, float[] embedding, float[] lmHead, double strength, TinyRandom random, TensorType type, int? endToken)
    {
        Directory.CreateDirectory(folder);
        SafetensorsWriter writer = new();
        writer.Add("model.embed_tokens.weight", [sizes.Vocabulary, sizes.Hidden], embedding, type);
        for (int l = 0; l < sizes.Layers; l++)
        {
            Layer(writer, $"model.layers.{l}.", sizes.Hidden, sizes.Heads * sizes.HeadSize, sizes.KvHeads * sizes.HeadSize, sizes.Intermediate, strength, random, type);
        }

        writer.Add("model.norm.weight", [sizes.Hidden], Ones(sizes.Hidden), type);
        writer.Add("lm_head.weight", [sizes.Vocabulary, sizes.Hidden], lmHead, type);
        writer.Write(Path.Combine(folder, "model.safetensors"));
        Config(folder, TargetConfig(sizes, endToken));
    }

    public static void Moa(string folder, TinySizes sizes, double strength, TinyRandom random, TensorType type)
    {
        Directory.CreateDirectory(folder);
        SafetensorsWriter writer = new();
        int query = sizes.Heads * sizes.HeadSize, kv = sizes.KvHeads * sizes.HeadSize, lsaHead = sizes.KvSize / sizes.Heads;
        Layer(writer, "layer_self_attention.", sizes.KvSize, sizes.Heads * lsaHead, sizes.KvHeads * lsaHead, sizes.Intermediate / 2, 1, random, type);
        Layer(writer, "self_attention.", sizes.Hidden, query, kv, sizes.Intermediate, strength, random, type);
        Layer(writer, "cross_attention.", sizes.Hidden, query, kv, sizes.Intermediate, strength, random, type);
        writer.Add("Ekv2E.weight", [sizes.Hidden, sizes.KvSize], random.Normal(sizes.Hidden * sizes.KvSize, 1 / Math.Sqrt(sizes.KvSize)), type);
        writer.Add("Ekv2E.bias", [sizes.Hidden], random.Normal(sizes.Hidden, 0.1), type);
        writer.Write(Path.Combine(folder, "model.safetensors"));
        Config(folder, new JsonObject
        {
            ["model_type"] = "moa_spec",
            ["architectures"] = new JsonArray("MOASpecModel"),
            ["hidden_size"] = sizes.Hidden,
            ["kv_hidden_size"] = sizes.KvSize,
            ["num_attention_heads"] = sizes.Heads,
            ["layer_self_attention_num_key_value_heads"] = sizes.KvHeads,
            ["self_attention_num_key_value_heads"] = sizes.KvHeads,
            ["cross_attention_num_key_value_heads"] = sizes.KvHeads,
            ["layer_self_attention_intermediate_size"] = sizes.Intermediate / 2,
            ["self_attention_intermediate_size"] = sizes.Intermediate,
            ["cross_attention_intermediate_size"] = sizes.Intermediate,
            ["rms_norm_eps"] = 1e-5,
            ["rope_theta"] = 10000.0,
            ["vocab_size"] = sizes.Vocabulary,
            ["disable_LSA"] = false,
        });
    }

    public static void Eagle(string folder, TinySizes sizes, double strength, TinyRandom random, TensorType type)
    {
        Directory.CreateDirectory(folder);
        SafetensorsWriter writer = new();
        int e = sizes.Hidden;
        float[] fc = random.Normal(e * 2 * e, strength * 0.1 / Math.Sqrt(2 * e));
        for (int i = 0; i < e; i++)
        {
            fc[(i * 2 * e) + i] += 1;
        }

        writer.Add("spec_model_fc.weight", [e, 2 * e], fc, type);
        Layer(writer, "spec_model.", e, sizes.Heads * sizes.HeadSize, sizes.KvHeads * sizes.HeadSize, sizes.Intermediate, strength, random, type);
        writer.Write(Path.Combine(folder, "model.safetensors"));
        JsonObject config = TargetConfig(sizes, null);
        config["architectures"] = new JsonArray("EAGLE");
        Config(folder, config);
    }

    private static void Layer(SafetensorsWriter writer, string prefix, int hidden, int query, int kv, int intermediate, double strength, TinyRandom random, TensorType type)
    {
        Linear("self_attn.q_proj", query, hidden, 1);
        Linear("self_attn.k_proj", kv, hidden, 1);
        Linear("self_attn.v_proj", kv, hidden, 1);
        Linear("self_attn.o_proj", hidden, query, strength);
        Linear("mlp.gate_proj", intermediate, hidden, 1);
        Linear("mlp.up_proj", intermediate, hidden, 1);
        Linear("mlp.down_proj", hidden, intermediate, strength);
        writer.Add($"{prefix}input_layernorm.weight", [hidden], Ones(hidden), type);
        writer.Add($"{prefix}post_attention_layernorm.weight", [hidden], Ones(hidden), type);

        void Linear(string name, int rows, int columns, double scale) =>
            writer.Add($"{prefix}{name}.weight", [rows, columns], random.Normal(rows * columns, scale / Math.Sqrt(columns)), type);
    }

    private static JsonObject TargetConfig(TinySizes sizes, int? endToken) => new()
    {
        ["model_type"] = "llama",
        ["architectures"] = new JsonArray("LlamaForCausalLM"),
        ["hidden_size"] = sizes.Hidden,
        ["intermediate_size"] = sizes.Intermediate,
        ["num_hidden_layers"] = sizes.Layers,
        ["num_attention_heads"] = sizes.Heads,
        ["num_key_value_heads"] = sizes.KvHeads,
        ["head_dim"] = sizes.HeadSize,
        ["hidden_act"] = "silu",
        ["max_position_embeddings"] = sizes.Context,
        ["rms_norm_eps"] = 1e-5,
        ["rope_theta"] = 10000.0,
        ["rope_scaling"] = null,
        ["tie_word_embeddings"] = false,
        ["vocab_size"] = sizes.Vocabulary,
        ["bos_token_id"] = null,
        ["eos_token_id"] = endToken,
    };

    private static float[] Ones(int count)
    {
        float[] values = new float[count];
        values.AsSpan().Fill(1);
        return values;
    }

    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    private static void Config(string folder, JsonObject config) =>
        File.WriteAllText(Path.Combine(folder, "config.json"), config.ToJsonString(Indented));
}

using System.Numerics;
using System.Text.Json.Nodes;
using LowLevelSpec.Models;
using LowLevelSpec.Training.Compute;
using LowLevelSpec.Training.Data;
using LowLevelSpec.Training.Drafters;
using LowLevelSpec.Training.Optimisation;
using LowLevelSpec.Training.Targets;

namespace LowLevelSpec.Training.Tests;

/// <summary>A random target of 3 layers, Ekv = 8 over 3 heads (an uneven LSA of head size 2), with scaled RoPE or with biases, and texts for it.</summary>
internal static class SmallCase
{
    public const int Vocabulary = 19;
    private const int Hidden = 12, Heads = 3, KvHeads = 1, Layers = 3, Width = 10, HeadSize = 4;

    public static FrozenTarget<T> Target<T>(bool biases) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        string folder = Directory.CreateTempSubdirectory("llspec-").FullName;
        try
        {
            Write(folder, biases);
            using ModelFile file = ModelFile.Open(folder);
            return new FrozenTarget<T>(file.Tensors);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>Two texts; the first has a second prompt turn.</summary>
    public static TrainingBatch Batch() => new([Sequence(13, 1, i => i is >= 3 and < 7 or >= 9), Sequence(9, 2, i => i >= 2)]);

    /// <summary>Weights strong enough that every tensor's gradient matters; gains and biases random too.</summary>
    public static DrafterModel<T> Randomised<T>(DrafterModel<T> drafter, ulong seed) where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        Initialisation.Normal(drafter.Parameters, seed, 0.35);
        foreach (Parameter<T> vector in drafter.Parameters.Where(static p => p.Shape.Count == 1))
        {
            Random random = new(vector.Name.Length);
            foreach (ref T value in vector.Value.Span)
            {
                value += T.CreateTruncating((random.NextDouble() - 0.5) * 0.4);
            }
        }

        return drafter;
    }

    public static DrafterModel<T> Moa<T>(FrozenTarget<T> target, int targetLayers, bool lsa = true) where T : unmanaged, IBinaryFloatingPointIeee754<T> =>
        Randomised(MoaModel<T>.Create(target, new MoaSizes(lsa ? 1 : 0, 6, 3, 7, 1, 9), targetLayers), 5);

    public static DrafterModel<T> Eagle<T>(FrozenTarget<T> target) where T : unmanaged, IBinaryFloatingPointIeee754<T> =>
        Randomised(EagleModel<T>.Create(target, 3, 11), 6);

    private static TrainingSequence Sequence(int length, int seed, Func<int, bool> response)
    {
        Random random = new(seed);
        return new TrainingSequence([.. Enumerable.Range(0, length).Select(_ => random.Next(Vocabulary))], [.. Enumerable.Range(0, length).Select(response)]);
    }

    public static void Write(string folder, bool biases)
    {
        SafetensorsWriter writer = new();
        int seed = 100;
        Add("model.embed_tokens.weight", 1, Vocabulary, Hidden);
        Add("lm_head.weight", 1, Vocabulary, Hidden);
        Add("model.norm.weight", 0.3, Hidden);
        for (int l = 0; l < Layers; l++)
        {
            string p = $"model.layers.{l}.";
            Add(p + "self_attn.q_proj.weight", 0.6, Heads * HeadSize, Hidden);
            Add(p + "self_attn.k_proj.weight", 0.6, KvHeads * HeadSize, Hidden);
            Add(p + "self_attn.v_proj.weight", 0.6, KvHeads * HeadSize, Hidden);
            Add(p + "self_attn.o_proj.weight", 0.6, Hidden, Heads * HeadSize);
            Add(p + "mlp.gate_proj.weight", 0.6, Width, Hidden);
            Add(p + "mlp.up_proj.weight", 0.6, Width, Hidden);
            Add(p + "mlp.down_proj.weight", 0.6, Hidden, Width);
            Add(p + "input_layernorm.weight", 0.3, Hidden);
            Add(p + "post_attention_layernorm.weight", 0.3, Hidden);
            if (biases)
            {
                Add(p + "self_attn.q_proj.bias", 0.5, Heads * HeadSize);
                Add(p + "self_attn.k_proj.bias", 0.5, KvHeads * HeadSize);
                Add(p + "self_attn.v_proj.bias", 0.5, KvHeads * HeadSize);
            }
        }

        writer.Write(Path.Combine(folder, "model.safetensors"));
        JsonObject config = new()
        {
            ["model_type"] = biases ? "qwen2" : "llama",
            ["hidden_size"] = Hidden,
            ["intermediate_size"] = Width,
            ["num_hidden_layers"] = Layers,
            ["num_attention_heads"] = Heads,
            ["num_key_value_heads"] = KvHeads,
            ["hidden_act"] = "silu",
            ["max_position_embeddings"] = 64,
            ["rms_norm_eps"] = 1e-5,
            ["rope_theta"] = 100.0,
            ["tie_word_embeddings"] = false,
            ["vocab_size"] = Vocabulary,
        };
        if (!biases)
        {
            config["rope_scaling"] = new JsonObject
            {
                ["rope_type"] = "llama3",
                ["factor"] = 4.0,
                ["low_freq_factor"] = 1.0,
                ["high_freq_factor"] = 4.0,
                ["original_max_position_embeddings"] = 16,
            };
        }

        File.WriteAllText(Path.Combine(folder, "config.json"), config.ToJsonString());

        void Add(string name, double scale, params int[] shape)
        {
            // Gains lie around one, everything else around zero.
            bool gain = name.EndsWith("norm.weight", StringComparison.Ordinal);
            float[] values = [.. TestTensors.Random<float>(1, shape.Aggregate(1, static (a, b) => a * b), seed++, scale).Span];
            writer.Add(name, [.. shape.Select(static s => (long)s)], [.. values.Select(v => gain ? 1 + v : v)]);
        }
    }
}

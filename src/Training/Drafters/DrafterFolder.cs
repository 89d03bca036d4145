using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using LowLevelSpec.Models;
using LowLevelSpec.Training.Compute;

namespace LowLevelSpec.Training.Drafters;

/// <summary>Writes and reads a drafter as the authors' checkpoints are written: model.safetensors and config.json, which the engine opens.</summary>
internal static class DrafterFolder
{
    private const string Weights = "model.safetensors";

    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    /// <summary>Replaces the drafter in <paramref name="folder"/>.</summary>
    /// <param name="folder">Made where absent.</param>
    /// <param name="drafter">What to write.</param>
    /// <param name="type">F32 or BF16.</param>
    /// <param name="vocabulary">Ids of a trimmed draft head, the most frequent first: tensor <c>draft_vocabulary</c> (I64 [N]) and config key <c>draft_vocabulary_size</c>; empty for neither.</param>
    public static void Write(string folder, DrafterModel<float> drafter, TensorType type, ReadOnlySpan<int> vocabulary = default)
    {
        Directory.CreateDirectory(folder);
        SafetensorsWriter writer = new();
        foreach (Parameter<float> parameter in drafter.Parameters)
        {
            writer.Add(parameter.Name, parameter.Shape, parameter.Value.Span, type);
        }

        JsonObject json = drafter.Config();
        if (vocabulary.Length > 0)
        {
            long[] ids = new long[vocabulary.Length];
            for (int i = 0; i < ids.Length; i++)
            {
                ids[i] = vocabulary[i];
            }

            writer.Add("draft_vocabulary", [ids.Length], ids);
            json["draft_vocabulary_size"] = ids.Length;
        }

        writer.Write(Path.Combine(folder, Weights));
        string config = Path.Combine(folder, "config.json"), part = config + ".part";
        File.WriteAllText(part, json.ToJsonString(Indented));
        File.Move(part, config, overwrite: true);
    }

    /// <summary>Takes over the weights of the drafter in <paramref name="folder"/>, which has the same kind and sizes.</summary>
    /// <exception cref="InputException">A tensor is missing or has another shape.</exception>
    public static void Read(string folder, DrafterModel<float> drafter)
    {
        using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(folder, Weights));
        foreach (Parameter<float> parameter in drafter.Parameters)
        {
            parameter.Set(file.Get(parameter.Name));
        }
    }

    /// <summary>First half of the SHA-256 of the weights in <paramref name="folder"/>, in hexadecimal.</summary>
    /// <exception cref="InputException">They can't be read.</exception>
    public static string Hash(string folder)
    {
        string path = Path.Combine(folder, Weights);
        try
        {
            using FileStream stream = File.OpenRead(path);
            return Convert.ToHexStringLower(SHA256.HashData(stream)[..16]);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"{path}: can't be read: {e.Message}", e);
        }
    }

    /// <summary>A Llama's config.json in Hugging Face's keys.</summary>
    public static JsonObject LlamaConfigJson(LlamaConfig config, string architecture) => new()
    {
        ["architectures"] = new JsonArray(architecture),
        ["model_type"] = config.ModelType,
        ["hidden_act"] = "silu",
        ["hidden_size"] = config.HiddenSize,
        ["intermediate_size"] = config.IntermediateSize,
        ["num_hidden_layers"] = config.Layers,
        ["num_attention_heads"] = config.Heads,
        ["num_key_value_heads"] = config.KvHeads,
        ["head_dim"] = config.HeadSize,
        ["max_position_embeddings"] = config.ContextLength,
        ["rms_norm_eps"] = config.RmsNormEpsilon,
        ["rope_theta"] = config.RopeTheta,
        ["rope_scaling"] = config.RopeScaling is not { } s ? null : new JsonObject
        {
            ["rope_type"] = "llama3",
            ["factor"] = s.Factor,
            ["low_freq_factor"] = s.LowFrequencyFactor,
            ["high_freq_factor"] = s.HighFrequencyFactor,
            ["original_max_position_embeddings"] = s.OriginalContextLength,
        },
        ["attention_bias"] = config.AttentionBias,
        ["tie_word_embeddings"] = config.TiedEmbeddings,
        ["vocab_size"] = config.VocabularySize,
        ["bos_token_id"] = config.BeginToken,
        ["eos_token_id"] = new JsonArray([.. config.EndTokens.Select(static t => (JsonNode)t)]),
    };
}

using System.Text.Json;
using LowLevelSpec.Models;

namespace LowLevelSpec.Cli.Inspection;

/// <summary>
/// The sizes of the target a drafter was made for, from the drafter's own config: that lets it be checked whole without the target.
/// A published config (moa_spec) names them, a trainer's is a copy of the target's.
/// </summary>
internal static class DrafterTarget
{
    private const int MaxConfigBytes = 1 << 20;

    /// <summary>A number of target layers no config exceeds: a moa_spec config does not say it.</summary>
    private const int UnknownLayers = 1024;

    /// <summary>Whether the tensors' names are a drafter's that leans on a target (Mixture of Attentions, EAGLE).</summary>
    public static bool LeansOnTarget(string path)
    {
        string? weights = WeightsOf(path);
        if (weights is null)
        {
            return false;
        }

        using SafetensorsFile file = SafetensorsFile.Open(weights);
        return file.AllTensors.Any(static tensor => tensor.Name.StartsWith("cross_attention.", StringComparison.Ordinal)
            || tensor.Name.StartsWith("Ekv2E.", StringComparison.Ordinal)
            || tensor.Name.StartsWith("spec_model", StringComparison.Ordinal));
    }

    /// <summary>The target's sizes as far as a drafter's check needs them.</summary>
    /// <exception cref="InputException">The config is absent, malformed or doesn't say.</exception>
    public static LlamaConfig Infer(string path)
    {
        string config = Path.Combine(Path.GetDirectoryName(Path.GetFullPath(WeightsOf(path)!))!, "config.json");
        ModelFileException Unsaid(string what, Exception? inner = null) => new(config, $"{what}, so the drafter can't be checked alone; give its target with --model", inner);
        try
        {
            using FileStream file = new(config, FileMode.Open, FileAccess.Read);
            if (file.Length > MaxConfigBytes)
            {
                throw Unsaid($"has {file.Length} bytes, more than a config has");
            }

            using JsonDocument json = JsonDocument.Parse(file);
            JsonElement root = json.RootElement;
            if (root.ValueKind != JsonValueKind.Object)
            {
                throw Unsaid("holds no JSON object");
            }

            int? Optional(string key) => root.TryGetProperty(key, out JsonElement value) && value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int number) && number > 0 ? number : null;
            int Needed(string key) => Optional(key) ?? throw Unsaid($"has no usable '{key}'");

            int hidden = Needed("hidden_size"), heads = Needed("num_attention_heads");
            int headSize = Optional("head_dim") ?? Math.Max(1, hidden / heads);

            // A moa_spec config gives the keys and values of a layer together: 2 * K * D.
            int kvHeads = Optional("kv_hidden_size") is int kv ? Math.Max(1, kv / 2 / headSize) : Optional("num_key_value_heads") ?? heads;
            return new LlamaConfig
            {
                ModelType = "llama",
                VocabularySize = Needed("vocab_size"),
                HiddenSize = hidden,
                Layers = Optional("num_hidden_layers") ?? UnknownLayers,
                Heads = heads,
                KvHeads = kvHeads,
                HeadSize = headSize,
                IntermediateSize = Optional("intermediate_size") ?? hidden,
                RmsNormEpsilon = 1e-5f,
                RopeTheta = 10_000,
                ContextLength = Optional("max_position_embeddings") ?? int.MaxValue,
            };
        }
        catch (JsonException e)
        {
            throw Unsaid("is not JSON", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Unsaid($"can't be read ({e.Message})", e);
        }
    }

    /// <summary>The one safetensors file of a path; null for GGUF, shards and everything that isn't there.</summary>
    private static string? WeightsOf(string path)
    {
        string file = Directory.Exists(path) ? Path.Combine(path, "model.safetensors") : path;
        return file.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase) && File.Exists(file) ? file : null;
    }
}

using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace LowLevelSpec.Models;

/// <summary>How a client pack is made.</summary>
public sealed record ClientPackOptions
{
    /// <summary>Storage of matrices: BF16, Q8_0 or Q4_0; those whose rows do not fill the type's blocks of 32 stay BF16. Norms and biases stay as they are.</summary>
    public TensorType Type { get; init; } = TensorType.Q8_0;

    /// <summary>Tokens that the draft head can propose, ascending; null = all. The text stays the target's: a token that is missing here is never drafted, only accepted later.</summary>
    public IReadOnlyList<int>? DraftTokens { get; init; }
}

/// <summary>One tensor of a pack.</summary>
/// <param name="Name">Name in the file.</param>
/// <param name="Type">How it is stored.</param>
/// <param name="Shape">Dimensions, outermost first.</param>
/// <param name="Bytes">Stored bytes.</param>
public sealed record ClientPackPart(string Name, TensorType Type, IReadOnlyList<long> Shape, long Bytes);

/// <summary>Writes client packs, see <see cref="ClientPack"/>.</summary>
public static class ClientPackWriter
{
    private const string ServerOnly = "layer_self_attention.";
    private static readonly string[] TokenizerFiles = [TokenizerFolder.TokenizerFile, TokenizerFolder.ConfigFile, TokenizerFolder.TemplateFile];

    /// <summary>Writes a pack and opens it once before it replaces a file that is there. Needs memory for the pack's size.</summary>
    /// <param name="path">Destination, ending in .gguf.</param>
    /// <param name="target">The target; its path also gives the tokenizer.</param>
    /// <param name="drafter">A MoA or EAGLE-2 drafter for it.</param>
    /// <param name="identity">Hashes as the server computes them.</param>
    /// <param name="options">Types and draft vocabulary.</param>
    /// <returns>What is in it.</returns>
    /// <exception cref="InputException">The drafter needs no pack, the target has no tokenizer, a draft token is out of range, or the file can't be written.</exception>
    public static IReadOnlyList<ClientPackPart> Write(string path, ModelFile target, DrafterFile drafter, ClientPackIdentity identity, ClientPackOptions options)
    {
        ArgumentNullException.ThrowIfNull(target);
        ArgumentNullException.ThrowIfNull(drafter);
        ArgumentNullException.ThrowIfNull(identity);
        ArgumentNullException.ThrowIfNull(options);
        LlamaTensors tensors = target.Tensors;
        if (drafter.Kind == DrafterKind.Independent)
        {
            throw new InputException($"{drafter.Path}: is an independent drafter, which shares nothing with the target and is one file already; give that to the device, or pack a MoA or EAGLE-2 drafter");
        }

        if (drafter.Moa is { TargetLayerInference: > 0 })
        {
            throw new InputException($"{drafter.Path}: drafts through the target's last {drafter.Moa.TargetLayerInference} layers, which a device does not hold; pack a drafter with target layer inference 0");
        }

        // A drafter's own table is in no order of ids; the pack's is, and takes its place.
        IReadOnlyList<int>? draftTokens = options.DraftTokens ?? (drafter.TrimmedVocabulary is { } trimmed ? [.. trimmed.Order()] : null);
        GgufWriter writer = new();
        List<ClientPackPart> parts = [];
        WriteMetadata(writer, target, drafter, identity, draftTokens);
        Matrix(LayerNames.GgufEmbedding, tensors.Embedding, null);
        Vector(ClientPackKeys.Norm, tensors.FinalNorm);
        if (draftTokens is not null || !ReferenceEquals(tensors.LmHead, tensors.Embedding))
        {
            Matrix(ClientPackKeys.Head, tensors.LmHead, draftTokens);
        }

        foreach (TensorInfo info in drafter.AllTensors.Where(static t => t.Name != DraftVocabulary.TensorName && !t.Name.StartsWith(ServerOnly, StringComparison.Ordinal)))
        {
            TensorView view = drafter.Weights.View(info);
            if (view.Shape.Count > 1)
            {
                Matrix(info.Name, view, null);
            }
            else
            {
                Vector(info.Name, view);
            }
        }

        // What a device can't open must not take the place of what it could.
        writer.Write(path, made =>
        {
            try
            {
                ClientPack.Open(made).Dispose();
            }
            catch (ModelFileException e)
            {
                throw new InputException($"{path}: the pack made of {target.Path} and {drafter.Path} can't be opened, so nothing was written: {e.Message}", e);
            }
        });
        return parts;

        void Matrix(string name, TensorView view, IReadOnlyList<int>? rows) => Add(name, view, rows, view.Columns % options.Type.BlockElements() == 0 ? options.Type : TensorType.BF16);

        void Vector(string name, TensorView view) => Add(name, view, null, view.Type);

        void Add(string name, TensorView view, IReadOnlyList<int>? rows, TensorType type)
        {
            byte[] data = Encode(view, rows, type);
            long[] shape = [.. view.Shape];
            shape[0] = rows?.Count ?? shape[0];
            writer.Add(name, type, shape, data);
            parts.Add(new ClientPackPart(name, type, shape, data.Length));
        }
    }

    /// <summary>
    /// The tokens a trimmed head keeps: the end tokens, then the most frequent ones. Without counts the lowest ids stand for these: byte-level BPE numbers tokens in the order in which
    /// its training merged them, most frequent first.
    /// </summary>
    /// <param name="count">How many, at least 1.</param>
    /// <param name="config">The target.</param>
    /// <param name="counts">Occurrences of each token, or empty.</param>
    /// <returns>Ids, ascending; null where all are kept.</returns>
    public static IReadOnlyList<int>? ChooseDraftTokens(int count, LlamaConfig config, IReadOnlyList<long> counts)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(counts);
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        return count >= config.VocabularySize
            ? null
            : [.. config.EndTokens.Concat(Enumerable.Range(0, config.VocabularySize).OrderByDescending(id => id < counts.Count ? counts[id] : 0)).Distinct().Take(count).Order()];
    }

    private static void WriteMetadata(GgufWriter writer, ModelFile target, DrafterFile drafter, ClientPackIdentity identity, IReadOnlyList<int>? draftTokens)
    {
        LlamaConfig config = target.Tensors.Config;
        writer.Set(ClientPackKeys.Architecture, ClientPackKeys.ArchitectureName);
        writer.Set(ClientPackKeys.Version, ClientPackKeys.CurrentVersion);
        writer.Set(ClientPackKeys.Kind, drafter.Kind == DrafterKind.Moa ? "moa" : "eagle");
        writer.Set(ClientPackKeys.TargetHash, identity.Target);
        writer.Set(ClientPackKeys.TokenizerHash, identity.Tokenizer);
        writer.Set(ClientPackKeys.DrafterHash, identity.Drafter);
        writer.Set(ClientPackKeys.TargetConfig, ConfigJson(config).ToJsonString());
        writer.Set(ClientPackKeys.DrafterConfig, DrafterConfig(drafter));
        if (draftTokens is { } tokens)
        {
            if (tokens.Count == 0 || tokens.Any(id => id < 0 || id >= config.VocabularySize) || tokens.Zip(tokens.Skip(1), static (a, b) => a >= b).Any(static wrong => wrong))
            {
                throw new InputException($"draft tokens: expected ids below {config.VocabularySize}, at least one, each above the one before it");
            }

            writer.Set(ClientPackKeys.DraftTokens, tokens.ToArray());
        }

        if (target.GgufMetadata is { } metadata && metadata.Keys.Any(static key => key.StartsWith(ClientPackKeys.GgufTokenizer, StringComparison.Ordinal)))
        {
            foreach ((string key, object value) in metadata.Where(static pair => pair.Key.StartsWith(ClientPackKeys.GgufTokenizer, StringComparison.Ordinal)))
            {
                writer.Set(key, value);
            }

            return;
        }

        string folder = Directory.Exists(target.Path) ? target.Path : Path.GetDirectoryName(Path.GetFullPath(target.Path))!;
        if (!File.Exists(Path.Combine(folder, TokenizerFolder.TokenizerFile)))
        {
            throw new ModelFileException(target.Path, $"has no tokenizer, which a device needs; put {TokenizerFolder.TokenizerFile} beside the weights");
        }

        foreach (string name in TokenizerFiles.Where(name => File.Exists(Path.Combine(folder, name))))
        {
            try
            {
                writer.Set(ClientPackKeys.File + name, File.ReadAllText(Path.Combine(folder, name), Encoding.UTF8));
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw FileErrors.Unreadable(Path.Combine(folder, name), e);
            }
        }
    }

    /// <summary>The drafter's config, saying of a MoA drafter that layer self-attention is not there.</summary>
    private static string DrafterConfig(DrafterFile drafter)
    {
        string path = drafter.Weights.Location.Config;
        try
        {
            JsonObject json = JsonNode.Parse(File.ReadAllBytes(path))!.AsObject();
            if (drafter.Kind == DrafterKind.Moa)
            {
                json["disable_LSA"] = true;
            }

            return json.ToJsonString();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException or InvalidOperationException)
        {
            throw FileErrors.Unreadable(path, e);
        }
    }

    /// <summary>The sizes as Hugging Face writes them, so that one reader checks them all.</summary>
    private static JsonObject ConfigJson(LlamaConfig config) => new()
    {
        ["model_type"] = config.ModelType,
        ["vocab_size"] = config.VocabularySize,
        ["hidden_size"] = config.HiddenSize,
        ["num_hidden_layers"] = config.Layers,
        ["num_attention_heads"] = config.Heads,
        ["num_key_value_heads"] = config.KvHeads,
        ["head_dim"] = config.HeadSize,
        ["intermediate_size"] = config.IntermediateSize,
        ["rms_norm_eps"] = config.RmsNormEpsilon,
        ["rope_theta"] = config.RopeTheta,
        ["rope_scaling"] = config.RopeScaling is not { } scaling ? null : new JsonObject
        {
            ["rope_type"] = "llama3",
            ["factor"] = scaling.Factor,
            ["low_freq_factor"] = scaling.LowFrequencyFactor,
            ["high_freq_factor"] = scaling.HighFrequencyFactor,
            ["original_max_position_embeddings"] = scaling.OriginalContextLength,
        },
        ["max_position_embeddings"] = config.ContextLength,
        ["tie_word_embeddings"] = config.TiedEmbeddings,
        ["attention_bias"] = config.ModelType == "llama" && config.AttentionBias,
        ["bos_token_id"] = config.BeginToken,
        ["eos_token_id"] = new JsonArray([.. config.EndTokens.Select(static id => (JsonNode)id)]),
    };

    /// <summary>A tensor's bytes in another type, row by row; unchanged where the type is its own.</summary>
    private static unsafe byte[] Encode(TensorView view, IReadOnlyList<int>? rows, TensorType type)
    {
        int count = rows?.Count ?? view.Rows;
        long rowBytes = type.Bytes(view.Columns);
        byte[] data = count * rowBytes <= Array.MaxLength
            ? new byte[count * rowBytes]
            : throw new InputException($"tensor '{view.Name}' would take {count * rowBytes} bytes as {type}, more than {Array.MaxLength}; choose a smaller type");
        float[] values = new float[view.Columns];
        for (int i = 0; i < count; i++)
        {
            int row = rows?[i] ?? i;
            Span<byte> to = data.AsSpan(checked((int)(i * rowBytes)), (int)rowBytes);
            if (view.Type == type && view.InterleavedHeads == 0)
            {
                new ReadOnlySpan<byte>((byte*)view.Data + (row * rowBytes), (int)rowBytes).CopyTo(to);
            }
            else
            {
                Dequantizer.Row(view, row, values);
                Quantizer.Quantize(type, values, to);
            }
        }

        return data;
    }
}

using System.Text;

namespace LowLevelSpec.Models;

/// <summary>SHA-256 hashes (64 lower-case hexadecimal digits) of what a client pack was made from; server and client compare them.</summary>
/// <param name="Target">The target's weights and config.</param>
/// <param name="Tokenizer">Its tokenizer.</param>
/// <param name="Drafter">The drafter's weights and config as the server holds them.</param>
public sealed record ClientPackIdentity(string Target, string Tokenizer, string Drafter);

/// <summary>
/// The one file that a device needs: drafter, the target's embeddings and draft head, tokenizer, and the hashes of target and drafter. A GGUF v3
/// file of architecture <c>llspec-client</c>: the drafter's tensors under the names of its checkpoint, <c>token_embd.weight</c> [V, E], <c>output_norm.weight</c> [E], and
/// <c>output.weight</c> [N, E] where the head is not the embedding table; metadata as <see cref="ClientPackKeys"/> lists them. What only the server runs
/// (layer self-attention) is left out.
/// </summary>
/// <remarks>The file is mapped, not read: replace it by rename only.</remarks>
public sealed class ClientPack : IDisposable
{
    private readonly DrafterFile _drafter;

    private ClientPack(DrafterFile drafter, LlamaTensors target, ClientPackIdentity identity, Tokenizer tokenizer, int[]? draftTokens) =>
        (_drafter, Target, Identity, Tokenizer, DraftTokens) = (drafter, target, identity, tokenizer, draftTokens);

    /// <summary>The path it was opened from.</summary>
    public string Path => _drafter.Path;

    /// <summary>What it was made from.</summary>
    public ClientPackIdentity Identity { get; }

    /// <summary>The target as far as a device has it: config, embeddings, final norm and head; no layers.</summary>
    public LlamaTensors Target { get; }

    /// <summary>Token of each row of the head, ascending; null where the head has a row for every token.</summary>
    public IReadOnlyList<int>? DraftTokens { get; }

    /// <summary>The drafter: MoA without layer self-attention, or EAGLE-2.</summary>
    public DrafterFile Drafter => _drafter;

    /// <summary>The target's tokenizer.</summary>
    public Tokenizer Tokenizer { get; }

    /// <summary>Bytes of the file.</summary>
    public long FileBytes => _drafter.FileBytes;

    /// <summary>Whether a file is a client pack, by its first metadata; false for anything unreadable.</summary>
    public static bool IsPack(string path)
    {
        try
        {
            if (!File.Exists(path) || !path.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase))
            {
                return false;
            }

            using GgufFile file = GgufFile.Open(path);
            return file.Metadata.GetValueOrDefault(ClientPackKeys.Architecture) is ClientPackKeys.ArchitectureName;
        }
        catch (ModelFileException)
        {
            return false;
        }
    }

    /// <summary>Opens and checks a pack: every tensor with its shape, every hash and the tokenizer.</summary>
    /// <exception cref="ModelFileException">It is no client pack, or malformed; the message says what was found and expected.</exception>
    public static ClientPack Open(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        WeightSet weights = WeightSet.Open(new ModelLocation(path, path, WeightLayout.Gguf, ""));
        try
        {
            return Read(path, weights);
        }
        catch
        {
            weights.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _drafter.Dispose();

    private static ClientPack Read(string path, WeightSet weights)
    {
        PackMetadata metadata = new(path, weights.Gguf!.Metadata);
        if (metadata.Text(ClientPackKeys.Architecture) is not ClientPackKeys.ArchitectureName)
        {
            throw new ModelFileException(path, $"is a GGUF file of architecture {FileErrors.Quote(metadata.Text(ClientPackKeys.Architecture))}, expected '{ClientPackKeys.ArchitectureName}'; make a client pack with 'llspec pack-client'");
        }

        if (weights.Gguf.Metadata.GetValueOrDefault(ClientPackKeys.Version) is not ClientPackKeys.CurrentVersion)
        {
            throw metadata.Wrong(ClientPackKeys.Version, $"{ClientPackKeys.CurrentVersion}");
        }

        weights.Hint = "the pack is damaged; make it again with 'llspec pack-client'";
        ClientPackIdentity identity = new(metadata.Hash(ClientPackKeys.TargetHash), metadata.Hash(ClientPackKeys.TokenizerHash), metadata.Hash(ClientPackKeys.DrafterHash));
        LlamaConfig config = HuggingFaceConfig.Read(JsonConfig.Parse(path, Encoding.UTF8.GetBytes(metadata.Text(ClientPackKeys.TargetConfig))), generation: null);
        int[]? draftTokens = metadata.DraftTokens(config.VocabularySize);
        TensorView embedding = weights.Take(LayerNames.GgufEmbedding, WeightUse.Matrix, config.VocabularySize, config.HiddenSize);
        LlamaTensors target = new()
        {
            Config = config,
            Embedding = embedding,
            Layers = [],
            FinalNorm = weights.Take(ClientPackKeys.Norm, WeightUse.Vector, config.HiddenSize),
            LmHead = draftTokens is null && !weights.Has(ClientPackKeys.Head)
                ? embedding
                : weights.Take(ClientPackKeys.Head, WeightUse.Matrix, draftTokens?.Length ?? config.VocabularySize, config.HiddenSize),
        };
        DrafterKind kind = weights.Gguf.Metadata.GetValueOrDefault(ClientPackKeys.Kind) switch
        {
            "moa" => DrafterKind.Moa,
            "eagle" => DrafterKind.Eagle,
            _ => throw metadata.Wrong(ClientPackKeys.Kind, "'moa' or 'eagle'"),
        };
        Tokenizer tokenizer = metadata.Tokenizer();

        // Last, as it refuses tensors that nobody took and then owns the file.
        DrafterFile drafter = DrafterFile.FromPack(weights, kind, JsonConfig.Parse(path, Encoding.UTF8.GetBytes(metadata.Text(ClientPackKeys.DrafterConfig))), config);
        return new ClientPack(drafter, target, identity, tokenizer, draftTokens);
    }
}

/// <summary>Metadata of a client pack.</summary>
internal static class ClientPackKeys
{
    public const string Architecture = "general.architecture", ArchitectureName = "llspec-client";
    public const string Version = "llspec.client.version";
    public const uint CurrentVersion = 1;

    /// <summary>"moa" or "eagle".</summary>
    public const string Kind = "llspec.client.drafter";

    public const string TargetHash = "llspec.client.target_sha256", TokenizerHash = "llspec.client.tokenizer_sha256", DrafterHash = "llspec.client.drafter_sha256";

    /// <summary>The target's sizes as a config.json.</summary>
    public const string TargetConfig = "llspec.client.target_config";

    /// <summary>The drafter's config.json.</summary>
    public const string DrafterConfig = "llspec.client.drafter_config";

    /// <summary>Token of each row of a trimmed head, ascending; absent for a whole one.</summary>
    public const string DraftTokens = "llspec.client.draft_tokens";

    /// <summary>Prefix of the tokenizer files of a folder; a GGUF target's tokenizer.* pairs keep their names.</summary>
    public const string File = "llspec.client.file.";

    /// <summary>Prefix of the tokenizer's pairs in GGUF files.</summary>
    public const string GgufTokenizer = "tokenizer.";

    public const string Norm = "output_norm.weight", Head = "output.weight";
}

/// <summary>Checked access to a pack's metadata.</summary>
internal sealed class PackMetadata(string path, IReadOnlyDictionary<string, object> pairs)
{
    private const int HashDigits = 64;

    public string Text(string key) => pairs.GetValueOrDefault(key) as string ?? throw Wrong(key, "a text");

    public string Hash(string key) => pairs.GetValueOrDefault(key) is string { Length: HashDigits } hash && hash.All(char.IsAsciiHexDigitLower)
        ? hash
        : throw Wrong(key, $"{HashDigits} lower-case hexadecimal digits");

    public int[]? DraftTokens(int vocabulary)
    {
        if (!pairs.TryGetValue(ClientPackKeys.DraftTokens, out object? value))
        {
            return null;
        }

        string expected = $"an array of token ids below {vocabulary}, each above the one before it";
        if (value is not int[] { Length: > 0 } tokens || tokens[0] < 0 || tokens[^1] >= vocabulary)
        {
            throw Wrong(ClientPackKeys.DraftTokens, expected);
        }

        for (int i = 1; i < tokens.Length; i++)
        {
            if (tokens[i] <= tokens[i - 1])
            {
                throw Wrong(ClientPackKeys.DraftTokens, expected);
            }
        }

        return tokens;
    }

    public Tokenizer Tokenizer()
    {
        string? json = Optional(TokenizerFolder.TokenizerFile);
        return json is not null
            ? TokenizerFolder.Parse(path, json, Optional(TokenizerFolder.ConfigFile), Optional(TokenizerFolder.TemplateFile))
            : Models.Tokenizer.FromGgufMetadata(path, pairs) ?? throw new ModelFileException(path, "holds no tokenizer; make the pack again with 'llspec pack-client'");

        string? Optional(string file) => pairs.ContainsKey(ClientPackKeys.File + file) ? Text(ClientPackKeys.File + file) : null;
    }

    public ModelFileException Wrong(string key, string expected)
    {
        string found = !pairs.TryGetValue(key, out object? value) ? "missing"
            : value is Array array ? $"an array of {array.Length} values"
            : FileErrors.Quote(value.ToString() ?? "");
        return new ModelFileException(path, $"metadata '{key}' is {found}, expected {expected}; make the pack again with 'llspec pack-client'");
    }
}

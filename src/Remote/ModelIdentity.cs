using LowLevelSpec.Models;

namespace LowLevelSpec.Remote;

/// <summary>What client and server must have in common: SHA-256 hashes, lower-case hexadecimal.</summary>
/// <param name="Target">Of the target's config and weight files.</param>
/// <param name="Tokenizer">Of the target's tokenizer files; of nothing where there is none.</param>
/// <param name="Drafter">Of the drafter's config and weight files; empty where the server sends no state (vanilla, independent drafters).</param>
public sealed record ModelIdentity(string Target, string Tokenizer, string Drafter)
{
    private static readonly string[] TokenizerFiles = ["tokenizer.json", "tokenizer_config.json"];

    /// <summary>Hashes the files of a target and, where given, of a drafter. Results are kept for the process, by path, size and time of change.</summary>
    /// <exception cref="InputException">A path holds no model, or can't be read.</exception>
    public static ModelIdentity Of(string modelPath, string? drafterPath)
    {
        ArgumentException.ThrowIfNullOrEmpty(modelPath);
        using ModelFile model = ModelFile.Open(modelPath);
        string target = FileHashes.Of(model.AllTensors, modelPath, "config.json");
        string tokenizer = modelPath.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase) ? target : FileHashes.Of([], modelPath, TokenizerFiles);
        if (drafterPath is null)
        {
            return new ModelIdentity(target, tokenizer, "");
        }

        using DrafterFile drafter = DrafterFile.Open(drafterPath, model.Tensors.Config);
        return new ModelIdentity(target, tokenizer, FileHashes.Of(drafter.AllTensors, drafterPath, "config.json"));
    }

    /// <summary>One sentence on the first difference, or null where both agree.</summary>
    /// <param name="server">The server's.</param>
    /// <param name="withDrafter">Whether the drafters must agree too.</param>
    public string? Difference(ModelIdentity server, bool withDrafter)
    {
        ArgumentNullException.ThrowIfNull(server);
        return Target != server.Target ? Sentence("target weights", Target, server.Target)
            : Tokenizer != server.Tokenizer ? Sentence("tokenizer", Tokenizer, server.Tokenizer)
            : withDrafter && Drafter != server.Drafter ? Sentence("drafter weights", Drafter, server.Drafter)
            : null;

        static string Sentence(string what, string client, string server) =>
            $"the {what} differ: found {Short(client)} at the client, expected {Short(server)} as at the server; use the same files on both sides";
    }

    private static string Short(string hash) => hash.Length == 0 ? "none" : $"sha256 {(hash.Length > 12 ? hash[..12] : hash)}...";
}

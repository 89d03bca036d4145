using System.CommandLine;
using LowLevelSpec.Cli.Options;
using LowLevelSpec.Cli.Output;
using LowLevelSpec.Models;
using LowLevelSpec.Remote;
using LowLevelSpec.Training.Data;
using Spectre.Console;

namespace LowLevelSpec.Cli.Commands;

/// <summary><c>llspec pack-client</c>: writes the one file that a device needs to draft for a server's target.</summary>
internal sealed class PackClientCommand : Command
{
    private readonly CliConsole _console;
    private readonly Option<string> _model = new("--model") { Description = "Target: a Hugging Face folder, a .safetensors or a .gguf file.", HelpName = "PATH", Required = true };
    private readonly Option<string> _drafter = new("--drafter") { Description = "Its drafter: a MoA or EAGLE-2 checkpoint.", HelpName = "PATH", Required = true };
    private readonly Option<string> _out = new("--out") { Description = "The pack, a file ending in .gguf.", HelpName = "FILE", Required = true };
    private readonly NumberOption<int> _vocabulary = new("--vocabulary", "Tokens the draft head can propose, the most frequent ones; all by default. The text stays the target's.", low: 1);
    private readonly Option<string[]> _counts = new("--counts") { Description = "Answers as 'llspec distill' writes them, to count which tokens are frequent; without them the lowest ids count as such.", HelpName = "FILE", Arity = ArgumentArity.OneOrMore };
    private readonly Option<string?> _type = new("--type") { Description = "Storage of matrices: bf16, q8_0 (the default) or q4_0.", HelpName = "TYPE" };
    private readonly JsonArguments _json = new();

    public PackClientCommand(CliConsole console)
        : base("pack-client", "Write the one file a device needs: drafter, embeddings, draft head, tokenizer and hashes.")
    {
        _console = console;
        foreach (Option option in (Option[])[_model, _drafter, _out, _vocabulary, _counts, _type])
        {
            Add(option);
        }

        _json.AddTo(this);
        SetAction(Run);
    }

    private int Run(ParseResult result)
    {
        string modelPath = Filled.In("--model", result.GetRequiredValue(_model)), drafterPath = Filled.In("--drafter", result.GetRequiredValue(_drafter));
        string path = Out(result);
        TensorType type = Type(result.GetValue(_type) ?? "q8_0");
        int? vocabulary = _vocabulary.Read(result);
        string[] counted = result.GetValue(_counts) ?? [];
        if (counted.Length > 0 && vocabulary is null)
        {
            throw new UsageException("--counts says which tokens a trimmed head keeps: give --vocabulary N too.");
        }

        using JsonTarget? file = JsonTarget.Open(_json.File(result), [modelPath, drafterPath, path, .. counted]);
        using ModelFile model = ModelFile.Open(modelPath);
        using DrafterFile drafter = DrafterFile.Open(drafterPath, model.Tensors.Config);
        LlamaConfig config = model.Tensors.Config;
        ModelIdentity identity = ModelIdentity.Of(modelPath, drafterPath);
        IReadOnlyList<int>? tokens = vocabulary is int count ? ClientPackWriter.ChooseDraftTokens(count, config, Count(counted, config)) : null;
        IReadOnlyList<ClientPackPart> parts = ClientPackWriter.Write(
            path, model, drafter, new ClientPackIdentity(identity.Target, identity.Tokenizer, identity.Drafter), new ClientPackOptions { Type = type, DraftTokens = tokens });

        // The sizes are those of the file that a device will open.
        using ClientPack pack = ClientPack.Open(path);
        PackReport report = new(path, pack.Identity, pack.DraftTokens?.Count ?? config.VocabularySize, config.VocabularySize, parts, pack.FileBytes, model.FileBytes, drafter.FileBytes);
        string json = Json.Indented(report);
        file?.Write(json);
        if (_json.ToStandardOutput(result))
        {
            _console.Out.Write(json);
            return ExitCode.Well;
        }

        Print(report);
        return ExitCode.Well;
    }

    private void Print(PackReport report)
    {
        Table table = _console.CreateTable().AddColumns("part", "stored as", "bytes");
        foreach (PackSize size in report.Sizes)
        {
            table.AddRow(size.Part, size.Types, $"{size.Bytes:N0}");
        }

        table.AddRow("whole file", "", $"{report.FileBytes:N0}");
        _console.Write(table);
        _console.Out.WriteLine($"{report.Path}: {report.FileBytes / 1e6:0.0} MB instead of the target's {report.TargetBytes / 1e6:0.0} MB and the drafter's {report.DrafterBytes / 1e6:0.0} MB; drafts {report.DraftVocabulary:N0} of {report.Vocabulary:N0} tokens");
        _console.Out.WriteLine($"target sha256 {report.Identity.Target}");
    }

    private string Out(ParseResult result)
    {
        string path = Filled.In("--out", result.GetRequiredValue(_out));
        return path.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase) ? path : throw new InputException($"--out {path}: found another ending, expected .gguf; name a GGUF file");
    }

    private static TensorType Type(string text) => text.ToUpperInvariant() switch
    {
        "BF16" => TensorType.BF16,
        "Q8_0" => TensorType.Q8_0,
        "Q4_0" => TensorType.Q4_0,
        _ => throw new InputException($"--type: found '{text}', expected bf16, q8_0 or q4_0"),
    };

    private static long[] Count(string[] files, LlamaConfig config)
    {
        long[] counts = new long[files.Length == 0 ? 0 : config.VocabularySize];
        foreach (TrainingSequence sequence in files.SelectMany(file => AnswerFile.Read(Filled.In("--counts", file), config.VocabularySize, int.MaxValue)))
        {
            for (int i = 0; i < sequence.Tokens.Count; i++)
            {
                counts[sequence.Tokens[i]] += sequence.Response[i] ? 1 : 0;
            }
        }

        return counts;
    }
}

/// <summary>One line of the sizes.</summary>
/// <param name="Part">drafter, embeddings, draft head or metadata.</param>
/// <param name="Types">Storage types in it.</param>
/// <param name="Bytes">Bytes.</param>
internal sealed record PackSize(string Part, string Types, long Bytes);

/// <summary>What is in a pack.</summary>
internal sealed record PackReport(
    string Path, ClientPackIdentity Identity, int DraftVocabulary, int Vocabulary, IReadOnlyList<ClientPackPart> Parts, long FileBytes, long TargetBytes, long DrafterBytes)
{
    /// <summary>Bytes by part; tokenizer, configs and padding make up the rest of the file.</summary>
    public IReadOnlyList<PackSize> Sizes { get; } =
    [
        Of("embeddings", Parts.Where(static p => p.Name == "token_embd.weight")),
        Of("draft head", Parts.Where(static p => p.Name == "output.weight")),
        Of("drafter", Parts.Where(static p => p.Name is not ("token_embd.weight" or "output.weight"))),
        new("tokenizer, hashes, configs", "", FileBytes - Parts.Sum(static p => p.Bytes)),
    ];

    private static PackSize Of(string part, IEnumerable<ClientPackPart> parts)
    {
        ClientPackPart[] all = [.. parts];
        return new PackSize(part, all.Length == 0 ? "the embeddings" : string.Join(", ", all.Select(static p => p.Type).Distinct()), all.Sum(static p => p.Bytes));
    }
}

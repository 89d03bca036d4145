using System.CommandLine;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using LowLevelSpec.Cli.Evaluation;
using LowLevelSpec.Cli.Options;
using LowLevelSpec.Cli.Output;
using LowLevelSpec.Cli.Prompts;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Models;
using LowLevelSpec.Remote;
using Spectre.Console;

namespace LowLevelSpec.Cli.Commands;

/// <summary><c>llspec eval</c>: many drafters and trees over sets of prompts, as the paper's table; a killed run goes on where it ended.</summary>
internal sealed class EvalCommand : Command
{
    private const int DefaultMaxNew = 64;

    private readonly CliConsole _console;
    private readonly ModelArguments _model = new();
    private readonly JsonArguments _json = new();
    private readonly Option<string[]> _drafters = new("--drafters")
    {
        Description = "Drafters, separated by commas, each optionally as label=path: checkpoints (MoA, EAGLE-2, small Llama), lookup, none. The embedded target's own where no --model is given.",
        HelpName = "A,B,..",
        AllowMultipleArgumentsPerToken = true,
    };

    private readonly Option<string[]> _prompts = new("--prompts")
    {
        Description = "Sets of prompts: files of JSON lines, or folders of them.",
        HelpName = "DIR|FILE",
        Required = true,
        AllowMultipleArgumentsPerToken = true,
    };

    private readonly Option<string?> _trees = new("--trees") { Description = $"Draft trees, separated by commas: total tokens (24) or depth x breadth x total tokens (5x4x24); {TreeSettings.Default.TotalTokens} by default.", HelpName = "N,.." };
    private readonly DraftVocabularyOption _vocabulary = new();
    private readonly NumberOption<int> _limit = new("--limit", "At most this many prompts of each set; all by default.", low: 1);
    private readonly NumberOption<int> _maxNew = new("--max-new", $"Most new tokens a prompt; {DefaultMaxNew} by default.", low: 2);
    private readonly Option<string> _out = new("--out") { Description = "Folder for journal, eval.json, eval.md and plots. An existing one is gone on with.", HelpName = "DIR", Required = true };

    public EvalCommand(CliConsole console)
        : base("eval", "Drafters x trees x sets of prompts: speedup, tau, draft and verify cost, equality; a killed run goes on.")
    {
        _console = console;
        foreach (Option option in (IEnumerable<Option>)[.. _model.All, _drafters, _prompts, _trees, _vocabulary, _limit, _maxNew, _out])
        {
            Add(option);
        }

        _json.AddTo(this);
        SetAction(Run);
    }

    private int Run(ParseResult result)
    {
        IReadOnlyList<EvalDrafter> drafters = Drafters(result);
        IReadOnlyList<TreeSettings> trees = EvalTrees.Parse(result.GetValue(_trees) ?? $"{TreeSettings.Default.TotalTokens}");
        DrafterOptions options = new() { DraftVocabulary = _vocabulary.Read(result) };
        if (options.DraftVocabulary is not null && !drafters.Any(static d => d.IsFile))
        {
            throw new UsageException("--draft-vocabulary is for drafters with an LM head: give a checkpoint with --drafters, or leave --draft-vocabulary out.");
        }

        int limit = _limit.Read(result) ?? int.MaxValue;
        GenerationRequest request = new() { MaxNewTokens = _maxNew.Read(result) ?? DefaultMaxNew };
        string folder = Filled.In("--out", result.GetRequiredValue(_out));
        List<FilePrompt> prompts = [.. result.GetRequiredValue(_prompts).SelectMany(path => PromptFile.Sets(Filled.In("--prompts", path))).SelectMany(file => PromptFile.Read(file).Take(limit))];
        using JsonTarget? file = JsonTarget.Open(_json.File(result), [_model.Path(result), .. drafters.Where(static d => d.IsFile).Select(static d => d.Path), .. _vocabulary.Files(result), .. prompts.Select(static p => p.File).Distinct(StringComparer.Ordinal)]);
        using LanguageModel model = _model.Open(result);
        List<Drafter> open = [];
        try
        {
            open.AddRange(drafters.Select(drafter => model.OpenDrafter(drafter.Path, drafter.IsFile ? options : null)));
            MakeFolder(folder);
            EvalRun run = new(model, request, prompts, [.. drafters.Zip(open).SelectMany(pair => Ways(pair.First, pair.Second, trees))]);
            using EvalJournal journal = EvalJournal.Open(Path.Combine(folder, "journal.jsonl"), Asked(result, model, drafters, options.DraftVocabulary, trees, prompts, request));
            using Interrupts.Work work = _console.Interrupts.Begin();
            bool complete = run.Go(_console, journal, work.Token);
            EvalReport report = new()
            {
                Model = _model.Path(result),
                Backend = model.BackendName,
                MaxNewTokens = request.MaxNewTokens,
                Complete = complete,
                Rows = EvalReport.Pool(run.Ways.Select(static way => (way.Label, way.Drafter?.Kind ?? EvalDrafter.None, way.TreeName)), prompts, journal.Records),
            };
            Write(report, folder, _json.ToStandardOutput(result), file);
            return !complete ? ExitCode.Interrupted : report.AllIdentical ? ExitCode.Well : Differ(report);
        }
        finally
        {
            open.ForEach(static drafter => drafter.Dispose());
        }
    }

    private IReadOnlyList<EvalDrafter> Drafters(ParseResult result) => result.GetValue(_drafters) is { Length: > 0 } given ? EvalDrafter.ParseList(given)
        : !_model.IsGiven(result) ? [EvalDrafter.Of(EmbeddedModels.Find().Drafter)]
        : throw new UsageException("Give drafters with --drafters.");

    private static IEnumerable<EvalWay> Ways(EvalDrafter drafter, Drafter open, IReadOnlyList<TreeSettings> trees) =>
        drafter.Path == EvalDrafter.None ? [new EvalWay(drafter.Label, null, null)] : trees.Select(tree => new EvalWay(drafter.Label, open, tree));

    /// <summary>Everything that the figures depend on, in words: what a folder's journal answers.</summary>
    private string Asked(ParseResult result, LanguageModel model, IReadOnlyList<EvalDrafter> drafters, IReadOnlyList<int>? vocabulary, IReadOnlyList<TreeSettings> trees, List<FilePrompt> prompts, GenerationRequest request)
    {
        string text = string.Join('\n', prompts.Select(static p => $"{Path.GetFileName(p.File)} {p.Line} {p.Text}{p.Message}{string.Join(',', p.Ids ?? [])}"));
        string hash = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)))[..16];
        string path = _model.Path(result);
        ModelIdentity identity = ModelIdentity.Of(path, drafterPath: null);
        IEnumerable<string> drawn = drafters.Select(d => d.IsFile ? $"{d.Label}={d.Path} {ModelIdentity.Of(path, d.Path).Drafter[..16]}" : $"{d.Label}={d.Path}");
        string scored = vocabulary is null ? "" : vocabulary.Count == 0 ? " over the whole vocabulary" : $" over {vocabulary.Count} tokens {Convert.ToHexStringLower(SHA256.HashData(MemoryMarshal.AsBytes<int>(vocabulary.ToArray())))[..16]}";
        string engine = (_model.Engine(result) with { CacheFolder = null }).ToString();
        return $"{path} {identity.Target[..16]}, tokenizer {identity.Tokenizer[..16]}, ends {FileHashes.Of([], path, "generation_config.json")[..16]}, on {model.BackendName}, {engine}, context {model.ContextLength}, drafters {string.Join(',', drawn)}{scored}, trees {string.Join(',', trees.Select(EvalTrees.Name))}, {prompts.Count} prompts {hash}, {request.MaxNewTokens} new tokens";
    }

    private static void MakeFolder(string folder)
    {
        try
        {
            Directory.CreateDirectory(folder);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"--out {folder}: can't be made: {FileProblem.Reason(e)}; choose another folder", e);
        }
    }

    private void Write(EvalReport report, string folder, bool toStandardOutput, JsonTarget? file)
    {
        string json = Json.Indented(report);
        file?.Write(json);
        File.WriteAllText(Path.Combine(folder, "eval.json"), json);
        File.WriteAllText(Path.Combine(folder, "eval.md"), EvalTables.Page(report));
        EvalPlots.Write(report, folder);
        if (toStandardOutput)
        {
            _console.Out.Write(json);
            return;
        }

        Print(EvalTables.Speedups(report));
        Print(EvalTables.Costs(report));
    }

    private void Print(IReadOnlyList<string[]> rows)
    {
        Table table = _console.CreateTable().AddColumns([.. rows[0].Select(Markup.Escape)]);
        foreach (string[] row in rows.Skip(1))
        {
            table.AddRow([.. row.Select(Markup.Escape)]);
        }

        _console.Write(table);
    }

    private int Differ(EvalReport report)
    {
        _console.Error.WriteLine($"llspec: texts differ from plain decoding: {string.Join(", ", report.Rows.Where(static r => r.All.Identical < r.All.Prompts).Select(static r => $"{r.Drafter} {r.Tree} {r.All.Prompts - r.All.Identical} of {r.All.Prompts}"))}.");
        return ExitCode.BadInput;
    }
}

using System.CommandLine;
using LowLevelSpec.Cli.Options;
using LowLevelSpec.Cli.Output;
using LowLevelSpec.Cli.Prompts;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Sampling;
using LowLevelSpec.Models;

namespace LowLevelSpec.Cli.Commands;

/// <summary>
/// <c>llspec demo</c>: a model writes with Mixture-of-Attentions speculation, then the same prompts are decoded plainly and the texts compared.
/// It runs the embedded pair (<see cref="EmbeddedModels"/>); by option SmolLM2-135M-Instruct of the shared folder, or a tiny generated pair.
/// </summary>
internal sealed class DemoCommand : Command
{
    private const int DefaultTokens = 96;

    /// <summary>Keeps so small a target from repeating itself; the choice stays greedy.</summary>
    private const float RepetitionPenalty = 1.15f;

    private const ulong TinySeed = 1;
    private const string Smollm2Name = "smollm2-135m-instruct";

    /// <summary>What the embedded target goes on with.</summary>
    private static readonly string[] Starts = ["In the beginning", "And it came to pass", "Blessed is the man that"];

    /// <summary>The same for the generated one, which knows a page of text.</summary>
    private static readonly string[] TinyStarts = ["A large language model", "The drafter sees", "When the link is cut"];

    /// <summary>Sets of the shared prompts, one prompt each.</summary>
    private static readonly string[] PromptSets = ["mt_bench.jsonl", "gsm8k.jsonl", "humaneval.jsonl"];

    private readonly CliConsole _console;
    private readonly NumberOption<int> _maxNew = new("--max-new", $"Most new tokens per prompt; {DefaultTokens} by default.", low: 1);
    private readonly NumberOption<int> _threads = new("--threads", "Threads; 0 = one per core the process may use (the default).", low: 0);
    private readonly Option<bool> _tiny = new("--tiny") { Description = "A tiny generated pair, which knows a page of text and nothing else." };
    private readonly Option<bool> _smollm2 = new("--smollm2") { Description = "SmolLM2-135M-Instruct and its drafter, from the folder that LLSPEC_SHARED names or ../shared." };

    public DemoCommand(CliConsole console)
        : base("demo", "Watch a model write with speculation, and see that the text is the same without.")
    {
        _console = console;
        Add(_maxNew);
        Add(_threads);
        Add(_tiny);
        Add(_smollm2);
        SetAction((result, _) => RunAsync(result));
    }

    private async Task<int> RunAsync(ParseResult result)
    {
        // What the drafter is worth shows in full trees: automatic ones may well leave a target as small as these alone.
        GenerationRequest request = new() { MaxNewTokens = _maxNew.Read(result) ?? DefaultTokens, Tree = TreeSettings.Default };
        EngineOptions options = new() { Threads = _threads.Read(result) ?? 0 };
        bool tiny = result.GetValue(_tiny), smollm2 = result.GetValue(_smollm2);
        if (tiny && smollm2)
        {
            throw new UsageException("Give either --tiny or --smollm2, not both.");
        }

        if (smollm2)
        {
            (string target, string moa, string prompts) = FindSmollm2();
            return await ShowAsync(target, moa, options, [.. PromptSets.Select(set => PromptFile.Read(Path.Combine(prompts, set))[0].Fill(request))]).ConfigureAwait(false);
        }

        if (!tiny && EmbeddedModels.Find() is { IsGenerated: false } pair)
        {
            return await ShowAsync(pair.Target, pair.Drafter, options, [.. Starts.Select(start => request with { Prompt = start, Sampling = new SamplingOptions { RepetitionPenalty = RepetitionPenalty } })]).ConfigureAwait(false);
        }

        DirectoryInfo folder = Directory.CreateTempSubdirectory("llspec-tiny-");
        try
        {
            _console.Error.WriteLine("A tiny generated pair writes, which knows a page of text and nothing else.");
            TinyPair.Write(folder.FullName, TinySeed);
            int code = await ShowAsync(Path.Combine(folder.FullName, "target"), Path.Combine(folder.FullName, "moa"), options, [.. TinyStarts.Select(start => request with { Prompt = start })]).ConfigureAwait(false);
            _console.Error.WriteLine("A pass of so small a target costs next to nothing, so drafting cannot pay here; look at tau.");
            return code;
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    /// <summary>Target and prompts of the shared folder; the drafter of the repository, else the shared folder's.</summary>
    /// <exception cref="InputException">Something is not there.</exception>
    private static (string Target, string Moa, string Prompts) FindSmollm2()
    {
        string shared = SharedFolder.Find() ?? throw new InputException("--smollm2: there is no shared folder; set LLSPEC_SHARED to the one that holds models/ and data/");
        string target = Path.Combine(shared, "models", Smollm2Name), moa = EmbeddedModels.FindFolder(Smollm2Name + "-moa") ?? target + "-moa", prompts = Path.Combine(shared, "data", "spec-bench");
        string? missing = new[] { target, moa, prompts }.FirstOrDefault(static path => !Directory.Exists(path));
        return missing is null ? (target, moa, prompts) : throw new InputException($"--smollm2: {missing} does not exist; put it there, or run the demo without --smollm2");
    }

    private async Task<int> ShowAsync(string target, string moa, EngineOptions options, List<GenerationRequest> requests)
    {
        using LanguageModel model = LanguageModel.Open(target, options);
        using Drafter drafter = model.OpenDrafter(moa);
        _console.Out.WriteLine($"{Path.GetFileName(target)} on {model.BackendName}, drafter {drafter.Kind}");
        if (new TokenPainter(_console, model.Tokenizer, colour: true).Legend is string legend)
        {
            _console.Out.WriteLine(legend);
        }

        using Interrupts.Work work = _console.Interrupts.Begin();
        List<PromptComparison> done = [];
        foreach (GenerationRequest request in requests)
        {
            _console.Out.WriteLine($"\n> {request.Prompt ?? request.Messages![^1].Content}\n");
            GenerationStream stream = model.GenerateAsync(request with { Drafter = drafter }, work.Token);
            if (!await TokenPainter.DrainAsync(stream, new TokenPainter(_console, model.Tokenizer, colour: true)).ConfigureAwait(false))
            {
                _console.Out.WriteLine();
                return ExitCode.Interrupted;
            }

            _console.Out.WriteLine("\n");
            _console.Out.WriteLine(GenerationReport.Line(stream.Result!.Statistics));
            done.Add(PromptComparison.From(done.Count, target, done.Count + 1, model.Generate(request, work.Token), stream.Result));
        }

        PooledComparison all = new(done);
        bool same = all.Identical == all.Prompts;
        _console.Out.WriteLine($"\nidentical to plain decoding: {(same ? "yes" : "no")}, tau {all.Tau:0.00}, {all.SpeculativeTokensPerSecond ?? 0:0.0} tokens/s (plain {all.PlainTokensPerSecond ?? 0:0.0})");
        return same ? ExitCode.Well : ExitCode.BadInput;
    }
}

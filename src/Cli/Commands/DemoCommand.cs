using System.CommandLine;
using LowLevelSpec.Cli.Options;
using LowLevelSpec.Cli.Output;
using LowLevelSpec.Cli.Prompts;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;

namespace LowLevelSpec.Cli.Commands;

/// <summary>
/// <c>llspec demo</c>: a model writes with Mixture-of-Attentions speculation, then the same prompts are decoded plainly and the texts compared.
/// It runs the real model of the shared folder where there is one, else a tiny generated pair.
/// </summary>
internal sealed class DemoCommand : Command
{
    private const int DefaultTokens = 96;
    private const ulong TinySeed = 1;

    /// <summary>Sets of the shared prompts, one prompt each.</summary>
    private static readonly string[] PromptSets = ["mt_bench.jsonl", "gsm8k.jsonl", "humaneval.jsonl"];

    private readonly CliConsole _console;
    private readonly NumberOption<int> _maxNew = new("--max-new", $"Most new tokens per prompt; {DefaultTokens} by default.", low: 1);
    private readonly NumberOption<int> _threads = new("--threads", "Threads; 0 = one per core the process may use (the default).", low: 0);
    private readonly Option<bool> _tiny = new("--tiny") { Description = "The tiny generated pair even where a real model is at hand." };

    public DemoCommand(CliConsole console)
        : base("demo", "Watch a model write with speculation, and see that the text is the same without.")
    {
        _console = console;
        Add(_maxNew);
        Add(_threads);
        Add(_tiny);
        SetAction((result, _) => RunAsync(result));
    }

    private async Task<int> RunAsync(ParseResult result)
    {
        GenerationRequest request = new() { MaxNewTokens = _maxNew.Read(result) ?? DefaultTokens };
        EngineOptions options = new() { Threads = _threads.Read(result) ?? 0 };
        if (!result.GetValue(_tiny) && SharedFolder.Find() is string shared && FindReal(shared) is var (target, moa) && RealPrompts(shared, request) is { Count: > 0 } prompts)
        {
            return await ShowAsync(target, moa, options, prompts).ConfigureAwait(false);
        }

        DirectoryInfo folder = Directory.CreateTempSubdirectory("llspec-tiny-");
        try
        {
            _console.Error.WriteLine("No real model is at hand: a tiny generated pair writes instead (it knows a page of text and nothing else).");
            TinyPair.Write(folder.FullName, TinySeed);
            string[] starts = ["A large language model", "The drafter sees", "When the link is cut"];
            int code = await ShowAsync(Path.Combine(folder.FullName, "target"), Path.Combine(folder.FullName, "moa"), options, [.. starts.Select(start => request with { Prompt = start })]).ConfigureAwait(false);
            _console.Error.WriteLine("A pass of so small a target costs next to nothing, so drafting cannot pay here; look at tau.");
            return code;
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static (string Target, string Moa)? FindReal(string shared)
    {
        string target = Path.Combine(shared, "models", "smollm2-135m-instruct"), moa = target + "-moa";
        return Directory.Exists(target) && Directory.Exists(moa) ? (target, moa) : null;
    }

    private static List<GenerationRequest> RealPrompts(string shared, GenerationRequest request) =>
    [
        .. PromptSets.Select(set => Path.Combine(shared, "data", "spec-bench", set)).Where(File.Exists).Select(path => PromptFile.Read(path)[0].Fill(request)),
    ];

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

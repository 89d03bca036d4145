using System.CommandLine;
using System.Globalization;
using LowLevelSpec.Cli.Benchmarking;
using LowLevelSpec.Cli.Options;
using LowLevelSpec.Cli.Output;
using LowLevelSpec.Cli.Prompts;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Measuring;
using LowLevelSpec.Models;

namespace LowLevelSpec.Cli.Commands;

/// <summary><c>llspec bench</c>: how fast a model runs here, against the memory's limit and, interleaved, llama-bench on the same file.</summary>
internal sealed class BenchCommand : Command
{
    private const int MaxRows = 512, MaxThreads = 256;

    private readonly CliConsole _console;
    private readonly Option<string> _model = new("--model") { Description = "Target: a Hugging Face folder, a .safetensors or a .gguf file.", HelpName = "PATH", Required = true };
    private readonly DrafterArguments _drafter = new(model: null, required: false);
    private readonly Option<string?> _threads = new("--threads") { Description = "Numbers of threads to measure; 1 and one per core by default.", HelpName = "N,N" };
    private readonly KvTypeOption _kvType = new();
    private readonly Option<string?> _rows = new("--rows") { Description = "Rows of the passes to measure; 1,2,4,8,16,32,64 by default.", HelpName = "N,N" };
    private readonly NumberOption<int> _context = new("--context", "Tokens in front of decoding and of the passes; 128 by default.", low: 1, high: 1 << 20);
    private readonly NumberOption<int> _prompt = new("--prompt-tokens", "Tokens of the prompt whose time to the first token is measured; 512 by default.", low: 1, high: 1 << 20);
    private readonly NumberOption<int> _decode = new("--decode-tokens", "Tokens of one measurement of decoding; 64 by default.", low: 1, high: 1 << 20);
    private readonly NumberOption<int> _repeats = new("--repeats", "Rounds that the medians are taken over; 5 by default.", low: 1, high: 1000);
    private readonly Option<string[]> _prompts = new("--prompts") { Description = "With a drafter: JSON lines as for compare, a set per file; three built-in texts by default. May be repeated.", HelpName = "FILE", Arity = ArgumentArity.OneOrMore, AllowMultipleArgumentsPerToken = true };
    private readonly NumberOption<int> _limit = new("--limit", "At most this many prompts of each file; 2 by default.", low: 1);
    private readonly NumberOption<int> _maxNew = new("--max-new", "Tokens written per prompt; 64 by default.", low: 2);
    private readonly Option<string?> _peer = new("--peer") { Description = "Folder whose run.sh builds llama-bench, to be measured in turns on the same .gguf file.", HelpName = "FOLDER" };
    private readonly Option<string?> _peerCache = new("--peer-cache") { Description = "Where llama-bench is built, once; a folder of the user's cache by default.", HelpName = "DIR" };
    private readonly Option<string?> _plot = new("--plot") { Description = "Chart of the passes' costs, .svg or .png.", HelpName = "FILE" };
    private readonly JsonArguments _json = new();

    public BenchCommand(CliConsole console)
        : base("bench", "Measure decoding, passes over several rows, prompts and speculation, with the memory's limit and llama-bench beside them.")
    {
        _console = console;
        foreach (Option option in (IEnumerable<Option>)[_model, .. _drafter.All, _threads, _kvType, _rows, _context, _prompt, _decode, _repeats, _prompts, _limit, _maxNew, _peer, _peerCache, _plot])
        {
            Add(option);
        }

        _json.AddTo(this);
        SetAction(Run);
    }

    private int Run(ParseResult result)
    {
        BenchPlan plan = Plan(result);
        string[] inputs = [plan.Model, .. _drafter.Files(result), .. plan.Sets.Select(static set => set.Name)];
        string? plot = Plot(result);
        using JsonTarget? file = JsonTarget.Open(_json.File(result), inputs);
        using Interrupts.Work work = _console.Interrupts.Begin();
        LlamaBench? peer = result.GetValue(_peer) is string folder
            ? LlamaBench.Prepare(Filled.In("--peer", folder), Filled.In("--peer-cache", result.GetValue(_peerCache) ?? LlamaBench.DefaultCache), plan.Model, _console, work.Token)
            : null;
        BenchReport report = Measure(plan, peer, work.Token);
        string json = Json.Indented(report);
        file?.Write(json);
        if (plot is not null)
        {
            BenchChart.Save(report, plot);
        }

        _console.Out.Write(_json.ToStandardOutput(result) ? json : BenchTables.Markdown(report));
        return ExitCode.Well;
    }

    /// <summary>The chart's file; a wrong ending is told before anything is measured.</summary>
    private string? Plot(ParseResult result) => result.GetValue(_plot) is not string path ? null
        : Path.GetExtension(path).ToUpperInvariant() is ".SVG" or ".PNG" ? path
        : throw new InputException($"--plot: found '{path}', expected a file that ends in .svg or .png");

    private BenchPlan Plan(ParseResult result)
    {
        DrafterOptions options = _drafter.Options(result);
        TreeSettings? tree = _drafter.Tree(result);
        int limit = _limit.Read(result) ?? 2;
        int[] rows = Numbers(_rows, result.GetValue(_rows) ?? "1,2,4,8,16,32,64", MaxRows);
        return new BenchPlan
        {
            Model = Filled.In("--model", result.GetRequiredValue(_model)),
            Engine = new EngineOptions { KvType = _kvType.Read(result) },
            OpenDrafter = model => _drafter.Open(result, model),
            Request = new GenerationRequest { Tree = tree, Lookup = _drafter.Lookup(result), MaxNewTokens = _maxNew.Read(result) ?? 64 },
            Tree = _drafter.TreeText(result),
            Sets = [.. (result.GetValue(_prompts) ?? []).Select(path => new PromptSet(Filled.In("--prompts", path), [.. PromptFile.Read(path).Take(limit)]))],
            Threads = Numbers(_threads, result.GetValue(_threads) ?? (Environment.ProcessorCount == 1 ? "1" : $"1,{Environment.ProcessorCount}"), MaxThreads),
            Rows = [.. rows.Prepend(1).Distinct()],
            Context = _context.Read(result) ?? 128,
            PromptTokens = _prompt.Read(result) ?? 512,
            DecodeTokens = _decode.Read(result) ?? 64,
            Repeats = _repeats.Read(result) ?? 5,
        };
    }

    private BenchReport Measure(BenchPlan plan, LlamaBench? peer, CancellationToken cancellation)
    {
        using ReadBandwidth memory = new();
        List<ThreadsReport> threads = [];
        string backend = "";
        long bytes = 0;
        ProgressReport.Run(_console, "bench", plan.Steps, advance =>
        {
            foreach (int count in plan.Threads)
            {
                using ModelBench bench = new(plan, count, peer, memory);
                threads.Add(bench.Run(advance, cancellation));
                (backend, bytes) = (bench.Backend.Split(',')[0], bench.PassBytes);
            }
        });
        return new BenchReport
        {
            Model = plan.Model,
            PassBytes = bytes,
            Backend = backend,
            KvType = $"{plan.Engine.KvType}".ToLowerInvariant(),
            Processor = Machine.ProcessorName(),
            Cores = Environment.ProcessorCount,
            Time = DateTime.UtcNow,
            Repeats = plan.Repeats,
            Context = plan.Context,
            Peer = peer?.Version,
            ReadBandwidthGbPerSecond = threads.Max(static t => t.ReadBandwidthGbPerSecond),
            Threads = threads,
        };
    }

    private static int[] Numbers(Option option, string text, int most)
    {
        string[] parts = text.Split(',', StringSplitOptions.TrimEntries);
        int[] numbers = new int[parts.Length];
        for (int i = 0; i < parts.Length; i++)
        {
            if (!int.TryParse(parts[i], NumberStyles.None, CultureInfo.InvariantCulture, out numbers[i]) || numbers[i] < 1 || numbers[i] > most)
            {
                throw new InputException($"{option.Name}: found '{parts[i]}', expected numbers from 1 to {most} separated by commas, e.g. 1,2");
            }
        }

        return [.. numbers.Distinct()];
    }
}

using System.CommandLine;
using LowLevelSpec.Cli.LinkBench;
using LowLevelSpec.Cli.Options;
using LowLevelSpec.Cli.Output;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Models;
using LowLevelSpec.Remote.Client;
using LowLevelSpec.Remote.Links;
using LowLevelSpec.Remote.Measuring;
using Spectre.Console;

namespace LowLevelSpec.Cli.Commands;

/// <summary>
/// <c>llspec link-bench</c>: server, link and clients in one process. A table over link profiles, random cuts against the plain text, many clients at
/// once, or the quality of text written without the link.
/// </summary>
internal sealed class LinkBenchCommand : Command
{
    private const int DefaultPrompts = 12, DefaultMaxNew = 48, DefaultCutsPerPrompt = 8, DefaultSeconds = 20;

    private readonly CliConsole _console;
    private readonly Option<string?> _model = new("--model") { Description = "Target; the embedded default where none is given.", HelpName = "PATH" };
    private readonly Option<string?> _drafter = new("--drafter") { Description = "Its MoA drafter; with --model none is the default.", HelpName = "PATH" };
    private readonly Option<string?> _eagle = new("--eagle") { Description = "Its EAGLE-2 drafter, for that row of the table.", HelpName = "PATH" };
    private readonly Option<string?> _independent = new("--independent") { Description = "A small Llama with the target's vocabulary, for --disconnected.", HelpName = "PATH" };
    private readonly Option<string?> _profile = new("--profile") { Description = "all, or some of lan, wifi, 5g, 4g, 3g, satellite, none, separated by commas.", HelpName = "NAMES" };
    private readonly Option<string?> _methods = new("--methods") { Description = "Rows of the table: some of per-call, streamed, eagle, moa, separated by commas; all that can run by default.", HelpName = "NAMES" };
    private readonly NumberOption<int> _prompts = new("--prompts", $"Prompts; {DefaultPrompts} by default.", low: 1, high: 10_000);
    private readonly Option<string[]> _files = new("--prompt-file") { Description = "JSON lines with the prompts, taken evenly over the files; by default, with --model, spec-bench's where it is found and the model can chat, else openings made here.", HelpName = "FILE", Arity = ArgumentArity.OneOrMore, AllowMultipleArgumentsPerToken = true };
    private readonly NumberOption<int> _maxNew = new("--max-new", $"Most new tokens of an answer; {DefaultMaxNew} by default.", low: 2);
    private readonly NumberOption<float> _pass = new("--server-pass-ms", "Least time of a target pass: a server as slow as a larger model's. 0 by default.", low: 0, high: 59_000);
    private readonly Option<string?> _encoding = new("--encoding") { Description = "How the target's state travels: int8 (the default), bf16 or f32.", HelpName = "int8|bf16|f32" };
    private readonly Option<string?> _tree = new("--tree") { Description = "Every draft tree: auto (the default) adapts each to the link, depth (2..32), breadth (1..32) and total tokens (1..63) fix it.", HelpName = "auto|D,B,T" };
    private readonly NumberOption<float> _faults = new("--call-faults", "Probability that a call is lost, and as much each that it is repeated or overtaken by the next one; 0 by default.", low: 0, high: 0.3f);
    private readonly NumberOption<int> _cuts = new("--cuts", "Cut the link this often at random and compare with the plain text.", low: 1, high: 1_000_000);
    private readonly NumberOption<int> _clients = new("--clients", "This many clients at once on one server.", low: 1, high: 4096);
    private readonly NumberOption<float> _seconds = new("--seconds", $"How long clients ask; {DefaultSeconds} by default.", low: 1, high: 3600);
    private readonly NumberOption<int> _budget = new("--kv-budget-mb", "Key/value memory of the server under --clients; 256 MiB by default.", low: 1);
    private readonly Option<bool> _disconnected = new("--disconnected") { Description = "Measure what drafters write without the link." };
    private readonly NumberOption<int> _cutsPerPrompt = new("--cuts-per-prompt", $"Cuts of each prompt's answer under --disconnected; {DefaultCutsPerPrompt} by default.", low: 1, high: 1000);
    private readonly NumberOption<int> _seed = new("--seed", "Of jitter, losses, faults and cuts; 0 by default.");
    private readonly NumberOption<int> _threads = new("--threads", "Threads of the server; 0 = one per core the process may use (the default).", low: 0);
    private readonly Option<string?> _plot = new("--plot") { Description = "Save a diagram, .svg or .png.", HelpName = "FILE" };
    private readonly JsonArguments _json = new();

    public LinkBenchCommand(CliConsole console)
        : base("link-bench", "Measure client and server over emulated links: --profile, --cuts, --clients or --disconnected.")
    {
        _console = console;
        Option[] options =
        [
            _model, _drafter, _eagle, _independent, _profile, _methods, _prompts, _files, _maxNew, _pass, _encoding, _tree, _faults, _cuts, _clients, _seconds, _budget, _disconnected, _cutsPerPrompt, _seed, _threads, _plot,
        ];
        foreach (Option option in options)
        {
            Add(option);
        }

        _json.AddTo(this);
        SetAction((result, _) => RunAsync(result));
    }

    private async Task<int> RunAsync(ParseResult result)
    {
        int modes = (_cuts.Read(result) is null ? 0 : 1) + (_clients.Read(result) is null ? 0 : 1) + (result.GetValue(_disconnected) ? 1 : 0);
        string? profileNames = result.GetValue(_profile);
        if (modes > 1 || (modes == 0 && profileNames is null))
        {
            throw new UsageException("give one of --profile NAMES, --cuts N, --clients N and --disconnected.");
        }

        BenchModels models = Models(result) with { Only = Methods(result) };
        if (models.Methods.Count == 0)
        {
            throw new UsageException("--methods: none of these can run without its drafter: give --eagle or --drafter, or other methods.");
        }

        IReadOnlyList<LinkProfile> profiles = LinkProfile.Parse(profileNames ?? "none");
        string? plot = result.GetValue(_plot);
        if (plot is not null && (modes == 1 && !result.GetValue(_disconnected)))
        {
            throw new UsageException("--plot goes with --profile or --disconnected.");
        }

        using JsonTarget? file = JsonTarget.Open(_json.File(result), [models.Target, .. ((string?[])[models.Moa, models.Eagle, result.GetValue(_independent)]).OfType<string>(), .. result.GetValue(_files) ?? []]);
        using Interrupts.Work work = _console.Interrupts.Begin();
        if (result.GetValue(_disconnected))
        {
            return Disconnected(result, models, plot, file, work.Token);
        }

        int prompts = _prompts.Read(result) ?? DefaultPrompts, maxNew = _maxNew.Read(result) ?? DefaultMaxNew;
        StateEncoding encoding = result.GetValue(_encoding) is string name ? RemoteArguments.Encoding(name) : StateEncoding.Int8;
        TreeSettings? tree = result.GetValue(_tree) is not string shape ? null : TreeSettings.Parse(shape) ?? throw new UsageException("--tree: off drafts nothing: compare with the methods per-call and streamed instead.");
        tree = tree is { Adapts: true } ? null : tree;
        BenchRig? opened = null;
        ProgressReport.Run(_console, "link-bench, plain answers", prompts, advance => opened = BenchRig.Open(models, Engine(result), prompts, Files(result, models), maxNew, encoding, tree, advance, work.Token));
        using BenchRig rig = opened!;
        return _cuts.Read(result) is int cuts ? await CutAsync(result, rig, profiles, cuts, file, work.Token).ConfigureAwait(false)
            : _clients.Read(result) is int clients ? await LoadAsync(result, rig, clients, file, work.Token).ConfigureAwait(false)
            : await TableAsync(result, rig, profiles, plot, file, work.Token).ConfigureAwait(false);
    }

    private async Task<int> TableAsync(ParseResult result, BenchRig rig, IReadOnlyList<LinkProfile> profiles, string? plot, JsonTarget? file, CancellationToken cancellation)
    {
        float p = _faults.Read(result) ?? 0;
        LinkTableRun run = new(rig, TimeSpan.FromMilliseconds(_pass.Read(result) ?? 0), p == 0 ? CallFaults.None : new CallFaults(p, p, p), _seed.Read(result) ?? 0);
        LinkTableReport report = await WatchAsync("link-bench", run.Steps(profiles.Count), advance => run.RunAsync(profiles, advance, cancellation)).ConfigureAwait(false);
        if (plot is not null)
        {
            LinkTablePrinter.Plot(report, plot);
        }

        Write(result, report, file, () => LinkTablePrinter.Print(_console, report));
        if (report.Identical == report.Answers)
        {
            return ExitCode.Well;
        }

        _console.Error.WriteLine($"llspec: {report.Answers - report.Identical} of {report.Answers} answers differ from local plain decoding.");
        return ExitCode.BadInput;
    }

    private async Task<int> CutAsync(ParseResult result, BenchRig rig, IReadOnlyList<LinkProfile> profiles, int cuts, JsonTarget? file, CancellationToken cancellation)
    {
        if (profiles.Count != 1)
        {
            throw new UsageException("--cuts takes one profile.");
        }

        CutRun run = new(rig, rig.Models.Methods[^1], profiles[0], TimeSpan.FromMilliseconds(_pass.Read(result) ?? 0), cuts, _seed.Read(result) ?? 0);
        CutReport report = await WatchAsync("link-bench, cuts", cuts, advance => run.RunAsync(advance, cancellation)).ConfigureAwait(false);
        Write(result, report, file, () =>
        {
            _console.Out.WriteLine($"{report.Answers} answers, {report.Tokens} tokens, {report.Seconds:0} s; cuts: {string.Join(", ", report.CutsByForm.Select(static f => $"{f.Value} {f.Key}"))}");
            _console.Out.WriteLine($"{report.Reconnects} reconnects ({report.Rebuilds} rebuilt); from reconnection to the next verified token p50 {report.ReconnectP50Ms:0.0} ms, p95 {report.ReconnectP95Ms:0.0} ms, at most {report.ReconnectMaxMs:0.0} ms");
            _console.Out.WriteLine($"{report.WrittenAlone} tokens written alone, {report.RolledBack} taken back; sessions left {report.SessionsLeft}, key/value bytes left {report.KvBytesLeft}");
        });
        foreach (CutFailure failure in report.Failures)
        {
            _console.Error.WriteLine($"prompt {failure.Prompt}, {string.Join(" + ", failure.Cuts)}: {failure.Reason}");
        }

        bool leak = report.SessionsLeft > 0 || report.KvBytesLeft > 0;
        if (leak)
        {
            _console.Error.WriteLine($"llspec: {report.SessionsLeft} sessions and {report.KvBytesLeft} key/value bytes are left after all clients closed.");
        }

        // With JSON on standard output the count goes where people read.
        (_json.ToStandardOutput(result) ? _console.Error : _console.Out).WriteLine($"{report.Passed} passed, {report.Failed} failed");
        return report.Failed == 0 && !leak ? ExitCode.Well : ExitCode.BadInput;
    }

    private async Task<int> LoadAsync(ParseResult result, BenchRig rig, int clients, JsonTarget? file, CancellationToken cancellation)
    {
        TimeSpan time = TimeSpan.FromSeconds(_seconds.Read(result) ?? DefaultSeconds);
        LoadReport report = await new LoadRun(rig, rig.Models.Methods[^1], clients, time, (long)(_budget.Read(result) ?? 256) << 20).RunAsync(cancellation).ConfigureAwait(false);
        Write(result, report, file, () =>
        {
            _console.Out.WriteLine($"{report.Clients} clients, {report.Seconds:0.0} s: {report.Tokens} tokens ({report.TokensPerSecond:0} per second), tau {report.Tau:0.00}, {report.Identical} of {report.Answers} answers identical, {report.Errors.Count} errors");
            _console.Out.WriteLine($"tokens per client {report.FewestTokens} to {report.MostTokens}, most / fewest {report.Fairness:0.00}");
            _console.Out.WriteLine($"key/value memory at most {report.MostKvBytes / 1048576.0:0.0} of {report.KvBudgetBytes >> 20} MiB, {report.Evictions} evictions; resident {report.ResidentBytesBefore >> 20} MiB before, at most {report.MostResidentBytes >> 20} MiB; sessions left {report.SessionsLeft}");
        });
        foreach (string error in report.Errors.Distinct(StringComparer.Ordinal).Take(5))
        {
            _console.Error.WriteLine($"llspec: {error}");
        }

        return report.Well ? ExitCode.Well : ExitCode.BadInput;
    }

    private int Disconnected(ParseResult result, BenchModels models, string? plot, JsonTarget? file, CancellationToken cancellation)
    {
        string[] drafters = [.. ((string?[])[models.Moa, models.Eagle, result.GetValue(_independent)]).OfType<string>()];
        if (drafters.Length == 0)
        {
            throw new UsageException("--disconnected needs a drafter: give --drafter, --eagle or --independent.");
        }

        int count = _prompts.Read(result) ?? DefaultPrompts, cuts = _cutsPerPrompt.Read(result) ?? DefaultCutsPerPrompt;
        using LanguageModel model = LanguageModel.Open(models.Target, Engine(result));
        IReadOnlyList<int[]> prompts = BenchPrompts.Take(model, count, Files(result, models), 512);
        DisconnectedReport? report = null;
        ProgressReport.Run(_console, "link-bench, without the link", count * drafters.Length, advance => report = DisconnectedRun.Run(model, models.Target, drafters, prompts, cuts, advance, cancellation));
        if (plot is not null)
        {
            report!.Plot(plot);
        }

        Write(result, report, file, () =>
        {
            Table table = _console.CreateTable().AddColumns(["drafter", "figure", .. DisconnectedReport.Shown.Select(static n => $"{n}"), "mean intact"]);
            foreach (DisconnectedCurve curve in report!.Curves)
            {
                Row("agreement", static p => p.Agreement);
                Row("intact", static p => p.Intact, $"{curve.MeanIntact:0.00}");
                Row("log-probability", static p => p.LogProbability);
                Row("first choice", static p => p.FirstChoice);

                void Row(string figure, Func<DisconnectedPoint, double> of, string last = "") =>
                    table.AddRow([curve.Kind, figure, .. DisconnectedReport.Shown.Select(n => curve.Points.FirstOrDefault(p => p.Tokens == n) is { } point ? $"{of(point):0.00}" : ""), last]);
            }

            _console.Write(table);
        });
        return ExitCode.Well;
    }

    /// <summary>Runs work with its progress on standard error.</summary>
    private async Task<T> WatchAsync<T>(string what, int steps, Func<Action, Task<T>> work)
    {
        T? value = default;
        await Task.Run(() => ProgressReport.Run(_console, what, steps, advance =>
        {
            Lock one = new();
            value = work(() =>
            {
                lock (one)
                {
                    advance();
                }
            }).GetAwaiter().GetResult();
        })).ConfigureAwait(false);
        return value!;
    }

    private void Write<T>(ParseResult result, T report, JsonTarget? file, Action print)
    {
        string json = Json.Indented(report);
        file?.Write(json);
        if (_json.ToStandardOutput(result))
        {
            _console.Out.Write(json);
        }
        else
        {
            print();
        }
    }

    /// <summary>The models named, or the embedded default with what lies beside it.</summary>
    private BenchModels Models(ParseResult result)
    {
        string? moa = result.GetValue(_drafter), eagle = result.GetValue(_eagle);
        if (result.GetValue(_model) is string target)
        {
            return new BenchModels(Filled.In("--model", target), moa, eagle);
        }

        EmbeddedPair pair = EmbeddedModels.Find();
        string beside = pair.IsGenerated ? Path.Combine(Path.GetDirectoryName(pair.Target)!, "eagle") : pair.Target + "-eagle";
        return new BenchModels(pair.Target, moa ?? pair.Drafter, eagle ?? (Directory.Exists(beside) ? beside : null));
    }

    private IReadOnlyList<BenchMethod>? Methods(ParseResult result) => result.GetValue(_methods)?.Split(',', StringSplitOptions.TrimEntries).Select(static name => name switch
    {
        "per-call" => BenchMethod.VanillaPerCall,
        "streamed" => BenchMethod.VanillaStreamed,
        "eagle" => BenchMethod.Eagle2,
        "moa" => BenchMethod.Moa,
        _ => throw new UsageException($"--methods: found '{name}', expected some of per-call, streamed, eagle, moa."),
    }).ToArray();

    private IReadOnlyList<string> Files(ParseResult result, BenchModels models) =>
        result.GetValue(_files) is { Length: > 0 } files ? [.. files.Select(static file => Filled.In("--prompt-file", file))]
        : result.GetValue(_model) is not null && Tokenizer.Open(models.Target)?.HasChatTemplate == true ? BenchPrompts.SharedFiles()
        : [];

    private EngineOptions Engine(ParseResult result) => new() { Threads = _threads.Read(result) ?? 0 };
}

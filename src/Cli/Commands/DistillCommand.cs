using System.CommandLine;
using System.Diagnostics;
using LowLevelSpec.Cli.Options;
using LowLevelSpec.Cli.Prompts;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Sampling;
using LowLevelSpec.Models;
using LowLevelSpec.Training.Distillation;

namespace LowLevelSpec.Cli.Commands;

/// <summary><c>llspec distill</c>: the target answers prompts, from files or of its own writing; a killed run goes on after its last whole line.</summary>
internal sealed class DistillCommand : Command
{
    private const int DefaultMaxNew = 224, DefaultRows = 16;
    private const long MaxStartsBytes = 16 << 20;

    private static readonly TimeSpan ReportEvery = TimeSpan.FromSeconds(5);

    private readonly CliConsole _console;
    private readonly ModelArguments _model = new();
    private readonly Option<string[]> _prompts = new("--prompts")
    {
        Description = "JSON lines with prompt_ids, turns (the first, by the chat template) or prompt. May be repeated.",
        HelpName = "FILE",
        AllowMultipleArgumentsPerToken = true,
    };

    private readonly NumberOption<int> _self = new("--self", "Instead of files: answer this many user turns that the target writes itself.", low: 1);
    private readonly Option<string?> _starts = new("--starts") { Description = "First words of those turns, one a line, taken in turn; built-in ones by default.", HelpName = "FILE" };
    private readonly Option<string> _out = new("--out") { Description = "Answers, JSON lines for train --data. An existing file is gone on with.", HelpName = "FILE", Required = true };
    private readonly NumberOption<int> _maxNew = new("--max-new", $"Most tokens of an answer; {DefaultMaxNew} by default.", low: 1);
    private readonly NumberOption<int> _rows = new("--rows", $"Sequences decoded at once, up to {Distiller.MostSequences}; {DefaultRows} by default. The answers do not depend on it.", low: 1, high: Distiller.MostSequences);
    private readonly NumberOption<float> _temperature = new("--temperature", "Samples the answers at this temperature; 0 = greedy (the default).", low: 0, high: 100);
    private readonly NumberOption<float> _topP = new("--top-p", "With --temperature: keep the most probable tokens up to this probability, above 0; 1 = all (the default).") { Range = "a number above 0 and at most 1" };
    private readonly NumberOption<ulong> _seed = new("--seed", "Seed of the user turns of --self and of sampled answers; 1 by default.");

    public DistillCommand(CliConsole console)
        : base("distill", "Let the target answer prompts, many at once, as data for train; a killed run goes on where it ended.")
    {
        _console = console;
        foreach (Option option in (IEnumerable<Option>)[.. _model.All, _prompts, _self, _starts, _out, _maxNew, _rows, _temperature, _topP, _seed])
        {
            Add(option);
        }

        SetAction(Run);
    }

    private int Run(ParseResult result)
    {
        string[] files = result.GetValue(_prompts) ?? [];
        int? self = _self.Read(result);
        if (files.Length > 0 == self is not null)
        {
            throw new UsageException("Give either --prompts with files or --self with a number of turns.");
        }

        SamplingOptions? sampling = Sampling(result);
        if (self is null && (result.GetValue(_starts) is not null || (sampling is null && _seed.Read(result) is not null)))
        {
            throw new UsageException("--starts is for --self, and --seed for --self or --temperature: answers to prompts from files are greedy.");
        }

        string path = Filled.In("--out", result.GetRequiredValue(_out));
        int maxNew = _maxNew.Read(result) ?? DefaultMaxNew, rows = _rows.Read(result) ?? DefaultRows;
        ulong seed = _seed.Read(result) ?? 1;
        IReadOnlyList<string> starts = Starts(result.GetValue(_starts));
        List<FilePrompt> prompts = [.. files.SelectMany(file => PromptFile.Read(Filled.In("--prompts", file)))];
        using LanguageModel model = _model.Open(result);
        using Distiller distiller = new(model, maxNew, rows, sampling);
        PromptSource source = self is null ? new GivenPrompts([.. prompts.Select(prompt => Encode(distiller, prompt))]) : new SelfWrittenTurns(model, starts, seed);
        using AnswerLog log = AnswerLog.Open(path, $"target {distiller.TargetFingerprint()}, {source.Fingerprint}, answers of at most {maxNew} tokens{(sampling is null ? "" : $" at temperature {sampling.Temperature}, top-p {sampling.TopP}, seed {sampling.Seed}")}, context {model.ContextLength}");
        using Interrupts.Work work = _console.Interrupts.Begin();
        int total = self ?? prompts.Count;
        _console.Error.WriteLine($"{log.Count} of {total} answers there, {rows} at once on {model.BackendName}");
        Watch watch = new(_console, log.Count, total);
        try
        {
            distiller.Run(source, log.Next, total - log.Count, log.Write, watch.Report, work.Token);
        }
        catch (OperationCanceledException)
        {
            _console.Error.WriteLine($"interrupted with {log.Count} of {total} answers in {path}; the same command goes on");
            return ExitCode.Interrupted;
        }

        _console.Out.WriteLine($"{log.Count} answers in {path}");
        return ExitCode.Well;
    }

    /// <summary>How answers are sampled; null = greedily.</summary>
    private SamplingOptions? Sampling(ParseResult result)
    {
        float temperature = _temperature.Read(result) ?? 0, topP = _topP.Read(result) ?? 1;
        SamplingOptions options = new() { Temperature = temperature, TopP = topP, Seed = _seed.Read(result) ?? 1 };
        options.Validate();
        return temperature > 0 ? options
            : _topP.Read(result) is null ? null
            : throw new UsageException("--top-p is for sampled answers: give --temperature, too.");
    }

    private static int[] Encode(Distiller distiller, FilePrompt prompt)
    {
        try
        {
            return distiller.Encode(prompt.Fill(new GenerationRequest()));
        }
        catch (InputException e)
        {
            throw new InputException($"{prompt.Place}: {e.Message}", e);
        }
    }

    private static List<string> Starts(string? path)
    {
        if (path is null)
        {
            return [];
        }

        try
        {
            FileInfo file = new(Filled.In("--starts", path));
            List<string> lines = file.Length > MaxStartsBytes
                ? throw new InputException($"--starts {path}: is longer than {MaxStartsBytes >> 20} MiB, expected first words, one a line")
                : [.. File.ReadLines(path).Select(static line => line.Trim()).Where(static line => line.Length > 0)];
            return lines.Count > 0 ? lines : throw new InputException($"--starts {path}: holds no words, expected first words, one a line");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"--starts {path}: can't be read: {FileProblem.Reason(e)}; give a text file", e);
        }
    }

    /// <summary>Prints where the run stands every few seconds.</summary>
    private sealed class Watch(CliConsole console, int before, int total)
    {
        private readonly Stopwatch _clock = Stopwatch.StartNew();
        private TimeSpan _last;
        private long _lastTokens;

        public void Report(DistillProgress now)
        {
            TimeSpan since = _clock.Elapsed - _last;
            if (since < ReportEvery)
            {
                return;
            }

            string left = "";
            if (now.Answers > 0)
            {
                TimeSpan time = _clock.Elapsed / now.Answers * (total - before - now.Answers);
                left = $"  {(long)time.TotalHours}:{time.Minutes:00}:{time.Seconds:00} left";
            }

            console.Error.WriteLine($"{before + now.Answers} of {total} answers  {(now.Tokens - _lastTokens) / since.TotalSeconds:0} tokens/s{left}");
            (_last, _lastTokens) = (_clock.Elapsed, now.Tokens);
        }
    }
}

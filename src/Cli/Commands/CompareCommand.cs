using System.CommandLine;
using LowLevelSpec.Cli.Options;
using LowLevelSpec.Cli.Output;
using LowLevelSpec.Cli.Prompts;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Models;
using Spectre.Console;

namespace LowLevelSpec.Cli.Commands;

/// <summary><c>llspec compare</c>: decodes prompts plainly and speculatively and says whether the texts are equal, and what it gained.</summary>
internal sealed class CompareCommand : Command
{
    /// <summary>Differing prompts named in the closing sentence.</summary>
    private const int NamedDifferences = 5;

    private readonly CliConsole _console;
    private readonly RunArguments _run = new(drafterRequired: true);
    private readonly JsonArguments _json = new();
    private readonly Option<string[]> _prompts = new("--prompts")
    {
        Description = "JSON lines with prompt_ids, turns (the first, by the chat template) or prompt. May be repeated.",
        HelpName = "FILE",
        Required = true,
        Arity = ArgumentArity.OneOrMore,
        AllowMultipleArgumentsPerToken = true,
    };

    private readonly NumberOption<int> _limit = new("--limit", "At most this many prompts of each file; all by default.", low: 1);

    public CompareCommand(CliConsole console)
        : base("compare", "Plain against speculative decoding over files of prompts: equality, tau, speedup.")
    {
        _console = console;
        Add(_prompts);
        _run.AddTo(this);
        Add(_limit);
        _json.AddTo(this);
        SetAction(Run);
    }

    private int Run(ParseResult result)
    {
        GenerationRequest request = _run.Request(result);
        if (!_run.HasDrafter(result) || request.Tree is null)
        {
            throw new UsageException($"{(request.Tree is null ? "--tree off" : "--drafter none")} leaves nothing to compare with plain decoding: give a drafter and a tree.");
        }

        int limit = _limit.Read(result) ?? int.MaxValue;
        List<FilePrompt> prompts = [.. result.GetRequiredValue(_prompts).SelectMany(path => PromptFile.Read(Filled.In("--prompts", path)).Take(limit))];
        using JsonTarget? file = JsonTarget.Open(_json.File(result), [.. _run.Inputs(result), .. prompts.Select(static prompt => prompt.File).Distinct(StringComparer.Ordinal)]);
        using LanguageModel model = _run.OpenModel(result);
        using Drafter? drafter = _run.OpenDrafter(result, model);
        using Interrupts.Work work = _console.Interrupts.Begin();
        List<PromptComparison> done = [];
        bool finished = true;
        try
        {
            CompareAll(model, drafter, request, prompts, done, work.Token);
        }
        catch (OperationCanceledException)
        {
            finished = false;
        }

        CompareReport report = new(done) { Model = _run.ModelPath(result), Drafter = drafter?.Kind ?? "none", Backend = model.BackendName };
        Write(report, _json.ToStandardOutput(result), file);
        return !finished ? ExitCode.Interrupted : Verdict(report);
    }

    private void CompareAll(LanguageModel model, Drafter? drafter, GenerationRequest request, List<FilePrompt> prompts, List<PromptComparison> done, CancellationToken cancellation)
    {
        foreach (FilePrompt prompt in prompts.Take(1))
        {
            PromptRunner.WarmUp(model, prompt, request, [drafter], cancellation);
        }

        ProgressReport.Run(_console, "compare", prompts.Count, advance =>
        {
            foreach (FilePrompt prompt in prompts)
            {
                GenerationResult plain = PromptRunner.Decode(model, prompt, request, cancellation);
                GenerationResult speculative = PromptRunner.Decode(model, prompt, request with { Drafter = drafter }, cancellation);
                done.Add(PromptComparison.From(done.Count, prompt.File, prompt.Line, plain, speculative));
                advance();
            }
        });
    }

    private void Write(CompareReport report, bool toStandardOutput, JsonTarget? file)
    {
        string json = Json.Indented(report);
        file?.Write(json);
        if (toStandardOutput)
        {
            _console.Out.Write(json);
            return;
        }

        Table table = _console.CreateTable().AddColumns("prompts of", "number", "identical", "tau", "plain tokens/s", "speculative", "speedup");
        foreach (FileComparison one in report.PerFile)
        {
            AddRow(table, Path.GetFileName(one.File), one.Prompts, one.Identical, one.Tau, one.PlainTokensPerSecond, one.SpeculativeTokensPerSecond, one.Speedup);
        }

        if (report.PerFile.Count != 1)
        {
            AddRow(table, "all", report.Prompts, report.Identical, report.Tau, report.PlainTokensPerSecond, report.SpeculativeTokensPerSecond, report.Speedup);
        }

        _console.Write(table);
    }

    private static void AddRow(Table table, string name, int prompts, int identical, double tau, double? plain, double? speculative, double? speedup) =>
        table.AddRow(Markup.Escape(name), $"{prompts}", $"{identical}", $"{tau:0.00}", $"{plain:0.0}", $"{speculative:0.0}", $"{speedup:0.00}");

    /// <summary>The exit code, with a sentence where texts differ.</summary>
    private int Verdict(CompareReport report)
    {
        PromptComparison[] different = [.. report.PerPrompt.Where(static p => !p.Identical)];
        if (different.Length == 0)
        {
            return ExitCode.Well;
        }

        string named = string.Join(", ", different.Take(NamedDifferences).Select(static p => $"{p.File} line {p.Line} from new token {p.FirstDifference}"));
        string more = different.Length > NamedDifferences ? $" and {different.Length - NamedDifferences} more" : "";
        _console.Error.WriteLine($"llspec: {different.Length} of {report.Prompts} prompts differ between plain and speculative decoding: {named}{more}.");
        return ExitCode.BadInput;
    }
}

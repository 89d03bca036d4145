using System.CommandLine;
using LowLevelSpec.Cli.Options;
using LowLevelSpec.Cli.Output;
using LowLevelSpec.Cli.Remote;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;

namespace LowLevelSpec.Cli.Commands;

/// <summary><c>llspec generate</c>: continues one prompt, as text or as a JSON report.</summary>
internal sealed class GenerateCommand : Command
{
    private readonly CliConsole _console;
    private readonly RunArguments _run = new(drafterRequired: false);
    private readonly PromptArguments _prompt = new();
    private readonly RemoteArguments _remote = new();
    private readonly JsonArguments _json = new();
    private readonly Option<bool> _colour = new("--color") { Description = "On a terminal: accepted draft tokens in one colour, the target's own in another." };

    public GenerateCommand(CliConsole console)
        : base("generate", "Continue a prompt.")
    {
        _console = console;
        _prompt.AddTo(this);
        _run.AddTo(this);
        _remote.AddTo(this);
        _json.AddTo(this);
        Add(_colour);
        SetAction((result, _) => RunAsync(result));
    }

    private async Task<int> RunAsync(ParseResult result)
    {
        GenerationRequest request = _prompt.Fill(_run.Request(result), result, _console.In);
        if (_remote.IsGiven(result))
        {
            return await new RemoteRun(_console, _run, _remote, _json).GenerateAsync(result, request).ConfigureAwait(false);
        }

        using JsonTarget? file = JsonTarget.Open(_json.File(result), _run.Inputs(result));
        using LanguageModel model = _run.OpenModel(result);
        using Drafter? drafter = _run.OpenDrafter(result, model);
        using Interrupts.Work work = _console.Interrupts.Begin();
        GenerationStream stream = model.GenerateAsync(request with { Drafter = drafter }, work.Token);
        bool quiet = _json.ToStandardOutput(result);
        bool finished = await TokenPainter.DrainAsync(stream, quiet ? null : new TokenPainter(_console, model.Tokenizer, result.GetValue(_colour))).ConfigureAwait(false);
        if (stream.Result is GenerationResult generation)
        {
            Report(result, GenerationReport.From(_run.ModelPath(result), model.BackendName, drafter?.Kind ?? "none", generation), generation, file);
        }

        return finished ? ExitCode.Well : ExitCode.Interrupted;
    }

    private void Report(ParseResult result, GenerationReport report, GenerationResult generation, JsonTarget? file)
    {
        string json = Json.Line(report);
        file?.Write(json);
        if (_json.ToStandardOutput(result))
        {
            _console.Out.Write(json);
            return;
        }

        // A model without a tokenizer writes no text; its ids are the result then.
        _console.Out.WriteLine(generation.Text is null ? string.Join(',', generation.OutputIds) : "");
        if (_console.ErrorIsTerminal)
        {
            _console.Error.WriteLine(GenerationReport.Line(generation.Statistics));
        }
    }
}

using System.CommandLine;
using LowLevelSpec.Cli.Inspection;
using LowLevelSpec.Cli.Options;
using LowLevelSpec.Cli.Output;
using LowLevelSpec.Models;
using Spectre.Console;

namespace LowLevelSpec.Cli.Commands;

/// <summary><c>llspec inspect</c>: what is in a model's or drafter's files, checked whole.</summary>
internal sealed class InspectCommand : Command
{
    private readonly CliConsole _console;
    private readonly Argument<string> _path = new("PATH") { Description = "A Hugging Face folder, a .safetensors or a .gguf file; target or drafter." };
    private readonly Option<string?> _model = new("--model") { Description = "The target of a drafter, to check it against.", HelpName = "PATH" };
    private readonly JsonArguments _json = new();

    public InspectCommand(CliConsole console)
        : base("inspect", "Say what is in a model's or drafter's files, and check them whole.")
    {
        _console = console;
        Add(_path);
        Add(_model);
        _json.AddTo(this);
        SetAction(Run);
    }

    private int Run(ParseResult result)
    {
        string path = Filled.In("PATH", result.GetRequiredValue(_path));
        string? target = result.GetValue(_model) is string model ? Filled.In("--model", model) : null;
        using JsonTarget? file = JsonTarget.Open(_json.File(result), target is null ? [path] : [path, target]);
        InspectReport report = Inspector.Inspect(path, target);
        file?.Write(Json.Indented(report));
        if (_json.ToStandardOutput(result))
        {
            _console.Out.Write(Json.Indented(report));
        }
        else
        {
            Print(report);
        }

        return ExitCode.Well;
    }

    private void Print(InspectReport report)
    {
        Table table = _console.CreateTable().AddColumns("what", "found");
        void Row(string name, string value) => table.AddRow(Markup.Escape(name), Markup.Escape(value));
        Row("path", report.Path);
        Row("kind", $"{report.Kind}, {report.Architecture}, {report.Format}");
        Row("parameters", $"{report.Parameters:N0} in {report.Tensors} tensors, {report.FileBytes:N0} bytes");
        if (report.Config is LlamaConfig c)
        {
            Row("sizes", $"{c.Layers} layers, hidden {c.HiddenSize}, {c.Heads} heads of {c.HeadSize}, {c.KvHeads} kv heads, MLP {c.IntermediateSize}, vocabulary {c.VocabularySize}");
            Row("context", $"{c.ContextLength} tokens, RoPE base {c.RopeTheta}{(c.RopeScaling is null ? "" : $", scaled by {c.RopeScaling.Factor}")}");
            Row("end tokens", c.EndTokens.Count == 0 ? "none" : string.Join(", ", c.EndTokens));
        }

        foreach ((string name, DrafterLayerConfig layer) in report.DrafterLayers ?? new Dictionary<string, DrafterLayerConfig>())
        {
            Row(name, $"hidden {layer.HiddenSize}, {layer.Heads} heads of {layer.HeadSize}, {layer.KvHeads} kv heads, MLP {layer.IntermediateSize}");
        }

        if (report.Kind == "model")
        {
            Row("tokenizer", report.Tokenizer is null ? "none: prompts are token ids" : $"{report.Tokenizer.VocabularySize} tokens, {(report.Tokenizer.ChatTemplate ? "with" : "without")} a chat template");
        }
        else
        {
            if (report.Architecture == "moa")
            {
                Row("target layers run", report.TargetLayerInference is int n ? $"{n}" : "not said (--tli)");
            }

            Row("checked against", report.CheckedAgainst ?? "the sizes its own config gives; --model checks it against a target");
        }

        _console.Write(table);
        Table types = _console.CreateTable().AddColumns("type", "tensors", "parameters", "bytes");
        foreach (TypeShare share in report.Types)
        {
            types.AddRow(Markup.Escape(share.Type), $"{share.Tensors}", $"{share.Parameters:N0}", $"{share.Bytes:N0}");
        }

        if (!_console.OutIsTerminal)
        {
            // Two Markdown tables without a blank line between them are one.
            _console.Out.WriteLine();
        }

        _console.Write(types);
        foreach (string warning in report.Warnings)
        {
            _console.Out.WriteLine($"- {warning}");
        }
    }
}

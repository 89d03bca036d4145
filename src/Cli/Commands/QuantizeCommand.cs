using System.CommandLine;
using LowLevelSpec.Cli.Options;
using LowLevelSpec.Cli.Output;
using LowLevelSpec.Models;

namespace LowLevelSpec.Cli.Commands;

/// <summary><c>llspec quantize</c>: writes a GGUF model again with its matrices in another type.</summary>
internal sealed class QuantizeCommand : Command
{
    private static readonly TensorType[] Types = [.. Enum.GetValues<TensorType>().Where(static type => type is not (TensorType.I64 or TensorType.U8))];

    private readonly CliConsole _console;
    private readonly Option<string> _model = new("--model") { Description = "A .gguf file.", HelpName = "FILE", Required = true };
    private readonly Option<string> _type = new("--type") { Description = $"Type of all matrices: {Names()}; norms stay as they are.", HelpName = "TYPE", Required = true };
    private readonly Option<string> _out = new("--out") { Description = "File to write.", HelpName = "FILE", Required = true };

    public QuantizeCommand(CliConsole console)
        : base("quantize", "Write a GGUF model again with its matrices in another type.")
    {
        _console = console;
        Add(_model);
        Add(_type);
        Add(_out);
        SetAction(Run);
    }

    private int Run(ParseResult result)
    {
        string model = Filled.In("--model", result.GetRequiredValue(_model)), target = Filled.In("--out", result.GetRequiredValue(_out)), name = result.GetRequiredValue(_type);
        TensorType type = Types.FirstOrDefault(known => known.ToString().Equals(name, StringComparison.OrdinalIgnoreCase), TensorType.I64);
        if (type == TensorType.I64)
        {
            throw new InputException($"--type: found '{name}', expected one of {Names()}");
        }

        if (RealPath.Of(model).Equals(RealPath.Of(target), RealPath.Comparison))
        {
            throw new InputException($"--out {target}: would overwrite the model it is made from; write to another file");
        }

        using Interrupts.Work work = _console.Interrupts.Begin();
        GgufRequantizer.Write(model, type, target, work.Token);
        _console.Out.WriteLine($"{target}: {type}, {new FileInfo(target).Length:N0} bytes");
        return ExitCode.Well;
    }

    private static string Names() => string.Join(", ", Types.Select(static type => type.ToString().ToLowerInvariant()));
}

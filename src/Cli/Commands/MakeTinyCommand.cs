using System.CommandLine;
using LowLevelSpec.Cli.Options;
using LowLevelSpec.Engine;

namespace LowLevelSpec.Cli.Commands;

/// <summary><c>llspec make-tiny</c>: a small generated target with drafters, for trying things out with nothing downloaded.</summary>
internal sealed class MakeTinyCommand : Command
{
    private readonly CliConsole _console;
    private readonly Option<string> _out = new("--out") { Description = "Folder to write into; it is created.", HelpName = "DIR", Required = true };
    private readonly NumberOption<ulong> _seed = new("--seed", "Seed of the weights.");

    public MakeTinyCommand(CliConsole console)
        : base("make-tiny", "Write a tiny generated target with drafters, a few MB.")
    {
        _console = console;
        Add(_out);
        Add(_seed);
        SetAction(result => Run(Filled.In("--out", result.GetRequiredValue(_out)), _seed.Read(result) ?? 1));
    }

    private int Run(string directory, ulong seed)
    {
        TinyPair.Write(directory, seed);
        foreach (string folder in Directory.EnumerateDirectories(directory).Order(StringComparer.Ordinal))
        {
            _console.Out.WriteLine(folder);
        }

        return ExitCode.Well;
    }
}

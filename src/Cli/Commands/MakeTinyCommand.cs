using System.CommandLine;
using LowLevelSpec.Cli.Options;
using LowLevelSpec.Engine;
using LowLevelSpec.Models;

namespace LowLevelSpec.Cli.Commands;

/// <summary><c>llspec make-tiny</c>: a small generated target with drafters, for trying things out with nothing downloaded.</summary>
internal sealed class MakeTinyCommand : Command
{
    private const ulong DefaultSeed = 1;

    private readonly CliConsole _console;
    private readonly Option<string> _out = new("--out") { Description = "Folder to write into; it is created.", HelpName = "DIR", Required = true };
    private readonly NumberOption<ulong> _seed = new("--seed", $"Seed of the weights; {DefaultSeed} by default.");

    public MakeTinyCommand(CliConsole console)
        : base("make-tiny", "Write a tiny generated target with drafters, a few MB.")
    {
        _console = console;
        Add(_out);
        Add(_seed);
        SetAction(result => Run(Filled.In("--out", result.GetRequiredValue(_out)), _seed.Read(result) ?? DefaultSeed));
    }

    private int Run(string directory, ulong seed)
    {
        try
        {
            Directory.CreateDirectory(directory);
            TinyPair.Write(directory, seed);
        }
        catch (Exception e) when ((e is InputException ? e.InnerException : e) is IOException or UnauthorizedAccessException)
        {
            string reason = File.Exists(directory) ? "it is a file"
                : e is FileNotFoundException or DirectoryNotFoundException ? "no folder can be made there"
                : FileProblem.Reason(e is InputException ? e.InnerException! : e);
            throw new InputException($"--out {directory}: can't write the tiny pair here: {reason}; choose another folder", e);
        }

        foreach (string folder in Directory.EnumerateDirectories(directory).Order(StringComparer.Ordinal))
        {
            _console.Out.WriteLine(folder);
        }

        return ExitCode.Well;
    }
}

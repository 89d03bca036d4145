using System.CommandLine;

namespace LowLevelSpec.Cli.Options;

/// <summary>--json [FILE]: a report for programs on standard output, or in a file.</summary>
internal sealed class JsonArguments
{
    private const string StandardOutput = "-";

    private readonly Option<string?> _json = new("--json")
    {
        Description = "Write one JSON object to FILE, or to standard output (- or nothing).",
        HelpName = "FILE",
        Arity = ArgumentArity.ZeroOrOne,
    };

    /// <summary>Adds the option to a command.</summary>
    public void AddTo(Command command) => command.Add(_json);

    /// <summary>Whether standard output carries JSON and nothing else.</summary>
    public bool ToStandardOutput(ParseResult result) => IsGiven(result) && Path(result) == StandardOutput;

    /// <summary>The file, or null where none is asked for.</summary>
    public string? File(ParseResult result) => IsGiven(result) && Path(result) is not StandardOutput and string path ? Filled.In("--json", path) : null;

    private bool IsGiven(ParseResult result) => result.GetResult(_json) is { Implicit: false };

    private string Path(ParseResult result) => result.GetValue(_json) ?? StandardOutput;
}

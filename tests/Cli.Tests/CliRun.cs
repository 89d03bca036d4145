namespace LowLevelSpec.Cli.Tests;

/// <summary>What a command line did.</summary>
/// <param name="Code">Exit code.</param>
/// <param name="Out">Standard output.</param>
/// <param name="Error">Standard error.</param>
internal sealed record CliRun(int Code, string Out, string Error)
{
    /// <summary>Runs a command line in this process, nothing on standard input.</summary>
    public static CliRun Of(params string[] args) => With("", args);

    /// <summary>Runs a command line in this process with a standard input.</summary>
    public static CliRun With(string input, params string[] args)
    {
        using StringWriter output = new(), error = new();
        using StringReader reader = new(input);
        int code = CliApp.Run(args, output, error, reader);
        return new CliRun(code, output.ToString(), error.ToString());
    }
}

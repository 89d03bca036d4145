using System.CommandLine;
using System.CommandLine.Invocation;
using System.CommandLine.Parsing;
using LowLevelSpec.Cli.Commands;
using LowLevelSpec.Models;

namespace LowLevelSpec.Cli;

/// <summary>The command <c>llspec</c>: parses, runs, and turns every failure into one sentence and an exit code.</summary>
internal static class CliApp
{
    /// <summary>Runs a command line against the given streams, none of which is a terminal.</summary>
    public static int Run(string[] args, TextWriter output, TextWriter error, TextReader input) => Run(args, new CliConsole(output, error, input));

    /// <summary>Runs a command line.</summary>
    public static int Run(string[] args, CliConsole console)
    {
        try
        {
            // Prompts may begin with '@' or contain anything else, so no argument stands for a file of arguments.
            ParserConfiguration parser = new() { ResponseFileTokenReplacer = null, EnablePosixBundling = false };
            RootCommand root = CreateRoot(console);
            ParseResult parsed = root.Parse(Arguments.SplitEmptyValues(root, args), parser);
            if (parsed.Action is ParseErrorAction)
            {
                return Fail(console, $"{FirstError(parsed)} Try '{Path(parsed.CommandResult)} --help'.", ExitCode.WrongUsage);
            }

            // Ctrl-C and exceptions are handled here and in Program, not by the library.
            InvocationConfiguration invocation = new()
            {
                Output = console.Out,
                Error = console.Error,
                EnableDefaultExceptionHandler = false,
                ProcessTerminationTimeout = null,
            };
            return Guard(console, parsed, () => parsed.InvokeAsync(invocation).GetAwaiter().GetResult());
        }
        catch (BrokenPipeException)
        {
            return ExitCode.Well;
        }
    }

    private static RootCommand CreateRoot(CliConsole console) => new("Lossless speculative decoding with Mixture-of-Attentions drafters: the target's exact text, several tokens per pass.")
    {
        new GenerateCommand(console),
        new ChatCommand(console),
        new CompareCommand(console),
        new BenchCommand(console),
        new QuantizeCommand(console),
        new EvalCommand(console),
        new InspectCommand(console),
        new DoctorCommand(console),
        new DemoCommand(console),
        new MakeTinyCommand(console),
        new DistillCommand(console),
        new TrainCommand(console),
        new TrainTokenizerCommand(console),
        new TrainTargetCommand(console),
        new ServeCommand(console),
        new PackClientCommand(console),
        new LinkBenchCommand(console),
    };

    private static int Guard(CliConsole console, ParseResult parsed, Func<int> run)
    {
        try
        {
            return run();
        }
        catch (UsageException e)
        {
            return Fail(console, $"{e.Message} Try '{Path(parsed.CommandResult)} --help'.", ExitCode.WrongUsage);
        }
        catch (Exception e) when (e is InputException or IOException or UnauthorizedAccessException)
        {
            return Fail(console, e is InputException ? e.Message : $"a file can't be read or written: {FileProblem.Reason(e)}", ExitCode.BadInput);
        }
        catch (OutOfMemoryException)
        {
            return Fail(console, "not enough memory: use a smaller model, or a shorter --context-length.", ExitCode.BadInput);
        }
        catch (OperationCanceledException)
        {
            return ExitCode.Interrupted;
        }
        catch (Exception e) when (e is not BrokenPipeException)
        {
            if (Environment.GetEnvironmentVariable("LLSPEC_DEBUG") == "1")
            {
                console.Error.WriteLine(e);
            }

            return Fail(
                console,
                $"internal error ({e.GetType().Name}: {e.Message}); please report it with the command line and, from LLSPEC_DEBUG=1, the stack trace.",
                ExitCode.InternalError);
        }
    }

    private static int Fail(CliConsole console, string sentence, int code)
    {
        // Names from files may hold line breaks and escape sequences; the message stays one line and does nothing to the terminal.
        string line = string.Create(sentence.Length, sentence, static (target, text) =>
        {
            for (int i = 0; i < text.Length; i++)
            {
                target[i] = char.IsControl(text[i]) ? ' ' : text[i];
            }
        });
        try
        {
            console.Error.WriteLine($"llspec: {line}");
        }
        catch (IOException)
        {
            // Standard error is full or gone: the exit code is all that is left to say.
        }

        return code;
    }

    /// <summary>The error that says most: a word that isn't known before what is missing because of it.</summary>
    private static string FirstError(ParseResult parsed)
    {
        string? unknown = parsed.UnmatchedTokens.Count > 0 ? parsed.UnmatchedTokens[0] : null;
        string message = (unknown is null ? null : parsed.Errors.FirstOrDefault(e => e.Message.Contains($"'{unknown}'"))?.Message) ?? parsed.Errors[0].Message;
        return message.EndsWith('.') ? message : message + ".";
    }

    private static string Path(CommandResult result) => result.Command is RootCommand ? "llspec" : $"llspec {result.Command.Name}";
}

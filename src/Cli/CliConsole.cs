using Spectre.Console;

namespace LowLevelSpec.Cli;

/// <summary>Where a command reads and writes. Results go to <paramref name="Out"/>, everything about them to <paramref name="Error"/>.</summary>
/// <param name="Out">Standard output.</param>
/// <param name="Error">Standard error.</param>
/// <param name="In">Standard input.</param>
internal sealed record CliConsole(TextWriter Out, TextWriter Error, TextReader In)
{
    /// <summary>Width of tables where no terminal says how wide it is.</summary>
    private const int RedirectedWidth = 140;

    /// <summary>Whether a person reads standard output as it comes.</summary>
    public bool OutIsTerminal { get; init; }

    /// <summary>Whether a person reads standard error as it comes.</summary>
    public bool ErrorIsTerminal { get; init; }

    /// <summary>Whether a person types.</summary>
    public bool InIsTerminal { get; init; }

    /// <summary>Ctrl-C.</summary>
    public Interrupts Interrupts { get; init; } = new();

    /// <summary>Whether text on standard output may be coloured: a terminal that has not opted out, or colour forced (https://no-color.org, CLICOLOR_FORCE).</summary>
    public bool OutHasColour => !IsSet("NO_COLOR") && (OutIsTerminal || IsSet("CLICOLOR_FORCE"));

    /// <summary>A table for people on a terminal, Markdown elsewhere.</summary>
    public Table CreateTable() => new Table().Border(OutIsTerminal ? TableBorder.Rounded : TableBorder.Markdown);

    /// <summary>Writes a table to standard output.</summary>
    public void Write(Table table)
    {
        if (OutIsTerminal)
        {
            Rich(Out, terminal: true).Write(table);
            return;
        }

        // Spectre draws the borders that Markdown lacks as lines of blanks.
        using StringWriter text = new();
        Rich(text, terminal: false).Write(table);
        foreach (string line in text.ToString().Split('\n').Select(static line => line.TrimEnd()).Where(static line => line.Length > 0))
        {
            Out.WriteLine(line);
        }
    }

    /// <summary>A Spectre console over standard error, for progress.</summary>
    public IAnsiConsole RichError() => Rich(Error, ErrorIsTerminal);

    private static IAnsiConsole Rich(TextWriter writer, bool terminal)
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Ansi = terminal ? AnsiSupport.Detect : AnsiSupport.No,
            ColorSystem = terminal ? ColorSystemSupport.Detect : ColorSystemSupport.NoColors,
            Interactive = terminal ? InteractionSupport.Detect : InteractionSupport.No,
            Out = new AnsiConsoleOutput(writer),
        });
        if (!terminal)
        {
            console.Profile.Width = RedirectedWidth;
        }

        return console;
    }

    private static bool IsSet(string variable) => Environment.GetEnvironmentVariable(variable) is { Length: > 0 } value && value != "0";
}

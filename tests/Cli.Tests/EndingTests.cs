using System.Diagnostics;
using System.Text;
using Xunit;

namespace LowLevelSpec.Cli.Tests;

/// <summary>Ends that come from outside: Ctrl-C, a reader that goes, a defect.</summary>
public sealed class EndingTests
{
    private static readonly string[] Long = ["generate", "--model", TinyFiles.Target, "--prompt", "The drafter", "--max-new", "900", "--ignore-eos"];

    [Fact]
    public void Ctrl_c_ends_a_generation_with_130_and_what_there_is()
    {
        CliRun whole = CliRun.Of(Long);
        using ActingWriter output = new();
        CliConsole console = new(output, TextWriter.Null, TextReader.Null);
        output.OnFirstWrite = () => Assert.True(console.Interrupts.TryCancel());
        Assert.Equal(130, CliApp.Run(Long, console));
        string text = output.ToString().TrimEnd('\n');
        Assert.NotEmpty(text);
        Assert.StartsWith(text, whole.Out);
        Assert.True(text.Length < whole.Out.Length - 1);
    }

    [Fact]
    public void Ctrl_c_with_nothing_running_is_left_to_the_process()
    {
        Interrupts interrupts = new();
        Assert.False(interrupts.TryCancel());
        using (Interrupts.Work work = interrupts.Begin())
        {
            Assert.True(interrupts.TryCancel());
            Assert.True(work.Token.IsCancellationRequested);
            Assert.False(interrupts.TryCancel());
        }

        Assert.False(interrupts.TryCancel());
    }

    [Fact]
    public void A_reader_that_goes_ends_the_work_quietly()
    {
        using ActingWriter output = new() { OnFirstWrite = static () => throw new BrokenPipeException(new IOException("gone")) };
        using StringWriter error = new();
        Assert.Equal(0, CliApp.Run(Long, output, error, TextReader.Null));
        Assert.Empty(error.ToString());
    }

    [Fact]
    public void A_defect_ends_with_70_and_one_sentence()
    {
        using ActingWriter output = new() { OnFirstWrite = static () => throw new InvalidOperationException("a defect") };
        using StringWriter error = new();
        Assert.Equal(70, CliApp.Run(Long, output, error, TextReader.Null));
        Assert.StartsWith("llspec: internal error (InvalidOperationException: a defect)", error.ToString());
        Assert.Single(error.ToString().TrimEnd('\n').Split('\n'));
    }

    [Fact]
    public void The_process_ends_quietly_when_the_pipe_breaks()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "needs a POSIX shell");
        string line = string.Join(' ', Long.Select(static word => $"'{word}'"));
        (int code, string output, string error) = Bash($"{{ '{Executable}' {line}; echo \"code $?\" >&2; }} | head -c 5");
        Assert.Equal(0, code);
        Assert.Equal(5, output.Length);
        Assert.Equal("code 0\n", error);
    }

    private static string Executable => Path.Combine(AppContext.BaseDirectory, "llspec");

    private static (int Code, string Out, string Error) Bash(string script)
    {
        ProcessStartInfo start = new("bash", ["-c", script]) { RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false };
        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output, error.Result);
    }

    /// <summary>A writer that does something at its first write.</summary>
    private sealed class ActingWriter : StringWriter
    {
        public Action? OnFirstWrite { get; set; }

        public override Encoding Encoding => Encoding.UTF8;

        public override void Write(string? value)
        {
            Action? act = OnFirstWrite;
            OnFirstWrite = null;
            base.Write(value);
            act?.Invoke();
        }
    }
}

using Xunit;

namespace LowLevelSpec.Cli.Tests;

/// <summary>Wrong usage: exit code 2, one sentence with a pointer to the help, nothing on standard output.</summary>
public sealed class UsageTests
{
    [Theory]
    [InlineData("", "Required command")]
    [InlineData("frobnicate", "'frobnicate'")]
    [InlineData("--frobnicate", "'--frobnicate'")]
    [InlineData("generate", "--prompt")]
    [InlineData("generate --model m", "--prompt")]
    [InlineData("generate --model m --prompt a --prompt-ids 1", "not both")]
    [InlineData("generate --model m --prompt-ids 1 --chat", "--chat")]
    [InlineData("generate --model m --prompt a --system b", "--system")]
    [InlineData("generate --model m --prompt-ids 1 --tli 1", "--tli")]
    [InlineData("generate --model m --prompt-ids 1 --drafter lookup --tli 1", "--tli")]
    [InlineData("generate --model m --prompt-ids 1 --temprature 1", "'--temprature'")]
    [InlineData("generate --model m --prompt-ids 1 --top-k", "--top-k")]
    [InlineData("generate --model m --prompt-ids 1 extra", "'extra'")]
    [InlineData("generate --model m --model n --prompt-ids 1", "--model")]
    [InlineData("generate --model m --prompt-ids 1 --seed 1 --seed 2", "--seed")]
    [InlineData("chat --model m --prompt a", "'--prompt'")]
    [InlineData("compare --model m --drafter lookup", "--prompts")]
    [InlineData("compare --model m --prompts p", "--drafter")]
    [InlineData("compare --model m --drafter none --prompts p", "--drafter none")]
    [InlineData("compare --model m --drafter lookup --tree off --prompts p", "--tree off")]
    [InlineData("inspect", "PATH")]
    [InlineData("inspect a b", "'b'")]
    [InlineData("doctor now", "'now'")]
    [InlineData("make-tiny", "--out")]
    [InlineData("demo --prompt a", "'--prompt'")]
    public void Wrong_usage_ends_with_2_and_one_sentence(string line, string named)
    {
        CliRun run = CliRun.Of(line.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        Assert.Equal(2, run.Code);
        Assert.Empty(run.Out);
        Assert.StartsWith("llspec: ", run.Error);
        Assert.Contains(named, run.Error);
        Assert.Contains("--help'", run.Error);
        Assert.Single(run.Error.TrimEnd('\n').Split('\n'));
    }

    [Theory]
    [InlineData("--help", "generate")]
    [InlineData("generate --help", "--prompt-ids")]
    [InlineData("compare --help", "--prompts")]
    [InlineData("chat -h", "--system")]
    [InlineData("--version", "0.")]
    public void Help_and_version_are_results(string line, string named)
    {
        CliRun run = CliRun.Of(line.Split(' '));
        Assert.Equal(0, run.Code);
        Assert.Contains(named, run.Out);
        Assert.Empty(run.Error);
    }
}

using Xunit;

namespace LowLevelSpec.Cli.Tests;

/// <summary><c>llspec train-tokenizer</c> and <c>train-target</c>: from a text to a model that writes.</summary>
public sealed class TrainTargetTests
{
    private static readonly string Text = string.Join("\n\n", Enumerable.Range(0, 60).Select(static i => $"And the word {i % 7} was with the drafter.\nAnd the target said, Let there be a tree {i % 3}."));

    [Fact]
    public void A_text_becomes_a_tokenizer_and_a_target_that_writes_and_resumes()
    {
        string text = TinyFiles.File(Text, ".txt"), tokenizer = Path.Combine(TinyFiles.Folder, "bpe"), first = Path.Combine(TinyFiles.Folder, "lm1"), second = Path.Combine(TinyFiles.Folder, "lm2");
        CliRun run = CliRun.Of("train-tokenizer", "--text", text, "--vocabulary", "300", "--out", tokenizer);
        Assert.True(run.Code == 0, run.Error);
        Assert.Contains("300 tokens from 59 documents", run.Out);

        string[] train = ["train-target", "--text", text, "--tokenizer", tokenizer, "--layers", "1", "--hidden", "32", "--heads", "2", "--kv-heads", "1", "--mlp", "32", "--context", "32", "--tokens", "256", "--steps", "12", "--checkpoint-every", "5"];
        run = CliRun.Of([.. train, "--out", first]);
        Assert.True(run.Code == 0, run.Error);
        Assert.Contains("held out: loss", run.Out);
        Assert.Equal(0, CliRun.Of([.. train, "--out", second]).Code);
        Assert.Equal(File.ReadAllBytes(Path.Combine(first, "model.safetensors")), File.ReadAllBytes(Path.Combine(second, "model.safetensors")));
        run = CliRun.Of([.. train, "--out", first]);
        Assert.Contains("at step 12 of 12", run.Error);
        Assert.Equal(12, File.ReadAllLines(Path.Combine(first, "log.jsonl")).Length);

        // Plain prompts and conversations alike are text to go on with.
        run = CliRun.Of("generate", "--model", first, "--prompt", "And the", "--chat", "--max-new", "4", "--drafter", "lookup");
        Assert.True(run.Code == 0, run.Error);
        Assert.Equal(CliRun.Of("generate", "--model", first, "--prompt", "And the", "--max-new", "4").Out, run.Out);
    }

    [Theory]
    [InlineData("train-tokenizer --text none.txt", "none.txt")]
    [InlineData("train-tokenizer --text none.txt --vocabulary 100", "--vocabulary")]
    [InlineData("train-target --text none.txt --tokenizer none", "none.txt")]
    [InlineData("train-target --text none.txt --tokenizer none --hidden 30 --heads 4", "--heads 4")]
    [InlineData("train-target --text none.txt --tokenizer none --heads 4 --kv-heads 3", "--kv-heads 3")]
    public void Bad_input_ends_with_1(string line, string named)
    {
        string folder = Path.Combine(TinyFiles.Folder, "never");
        CliRun run = CliRun.Of([.. line.Split(' '), "--out", folder]);
        Assert.Equal(1, run.Code);
        Assert.Contains(named, run.Error);
        Assert.False(Directory.Exists(folder));
    }

    [Fact]
    public void A_folder_without_a_tokenizer_is_refused()
    {
        CliRun run = CliRun.Of("train-target", "--text", TinyFiles.File(Text, ".txt"), "--tokenizer", TinyFiles.Mute, "--out", Path.Combine(TinyFiles.Folder, "never"));
        Assert.Equal(1, run.Code);
        Assert.Contains("holds no tokenizer.json", run.Error);
    }
}

using Xunit;

namespace LowLevelSpec.Cli.Tests;

/// <summary><c>llspec train</c> on the tiny pair: it trains, resumes, and writes a drafter that the engine opens.</summary>
public sealed class TrainTests
{
    [Fact]
    public void A_training_resumes_and_its_drafter_keeps_the_text()
    {
        string folder = Directory.CreateTempSubdirectory("llspec-train-").FullName;
        try
        {
            string data = Path.Combine(folder, "answers.jsonl"), first = Path.Combine(folder, "first"), second = Path.Combine(folder, "second");
            File.WriteAllLines(data, Enumerable.Range(0, 120).Select(static i => $$"""{"p":[2,{{5 + i}},7],"a":[{{string.Join(',', Enumerable.Range(i, 20))}}]}"""));
            string[] train = ["train", "--model", TinyFiles.Target, "--data", data, "--kv-heads", "4", "--mlp", "64", "--lsa-mlp", "32", "--tokens", "256", "--checkpoint-every", "2", "--steps"];
            CliRun whole = CliRun.Of([.. train, "6", "--out", first]);
            Assert.True(whole.Code == 0, whole.Error);
            Assert.Contains("held out at step 6", whole.Out);
            Assert.All((string[])["loss.svg", "held-out.svg", "tau.svg"], name => Assert.Contains("<svg", File.ReadAllText(Path.Combine(first, name))));
            Assert.Matches(@"tokens/s, \d+ GFLOP/s in matrix products, \d+ % of the \d+ GFLOP/s", whole.Error);

            // The schedule depends on the number of steps, so the run that is broken off is asked for as many and stops at a checkpoint of its own making.
            CliRun again = CliRun.Of([.. train, "6", "--out", first]);
            Assert.Equal(0, again.Code);
            Assert.Contains("at step 6 of 6", again.Error);
            Assert.Equal(6, File.ReadAllLines(Path.Combine(first, "log.jsonl")).Length);

            CliRun twin = CliRun.Of([.. train, "6", "--out", second]);
            Assert.Equal(0, twin.Code);
            Assert.Equal(File.ReadAllBytes(Path.Combine(first, "model.safetensors")), File.ReadAllBytes(Path.Combine(second, "model.safetensors")));

            string prompts = Path.Combine(folder, "prompts.jsonl");
            File.WriteAllText(prompts, """{"prompt_ids":[2,9,7]}""");
            Assert.Equal(0, CliRun.Of("compare", "--model", TinyFiles.Target, "--drafter", first, "--prompts", prompts, "--max-new", "20", "--json", "-").Code);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Theory]
    [InlineData("--kind glide", "--kind: found 'glide'")]
    [InlineData("--loss mse", "--loss: found 'mse'")]
    [InlineData("--steps 0", "--steps")]
    [InlineData("--kl-share 2", "--kl-share")]
    [InlineData("--schedule step", "--schedule: found 'step'")]
    [InlineData("--optimiser sgd", "--optimiser: found 'sgd'")]
    [InlineData("--cache none --cache-tli 1,x", "--cache-tli: found 'x'")]
    [InlineData("--cache none --cache-tli 1,99", "--cache-tli: found '99'")]
    [InlineData("--kind independent --hidden 17", "--hidden: found 17")]
    [InlineData("--kind independent --hidden 64 --kv-heads 7", "--kv-heads: found 7")]
    [InlineData("--kv-heads 7", "--kv-heads: found 7")]
    [InlineData("--kind eagle --kv-heads 7", "--kv-heads: found 7")]
    public void Bad_values_are_refused(string options, string named)
    {
        CliRun run = CliRun.Of(["train", "--model", TinyFiles.Target, "--data", "none.jsonl", "--out", "none", .. options.Split(' ')]);
        Assert.Equal(1, run.Code);
        Assert.Contains(named, run.Error);
    }

    [Theory]
    [InlineData("--cache-tli 1")]
    [InlineData("--kind eagle --align 1")]
    [InlineData("--kind eagle --init-target")]
    public void Options_that_exclude_each_other_are_a_usage_error(string options)
    {
        CliRun run = CliRun.Of(["train", "--model", TinyFiles.Target, "--data", "none.jsonl", "--out", "none", .. options.Split(' ')]);
        Assert.Equal(2, run.Code);
        Assert.Contains("leave it out", run.Error.Replace("give both, or neither", "leave it out", StringComparison.Ordinal));
    }

    [Fact]
    public void Data_of_another_target_is_refused_by_line()
    {
        string data = TinyFiles.File("""{"p":[1],"a":[1,2,3,99999]}""");
        CliRun run = CliRun.Of("train", "--model", TinyFiles.Target, "--data", data, "--out", Path.Combine(TinyFiles.Folder, "never"));
        Assert.Equal(1, run.Code);
        Assert.Contains("line 1", run.Error);
    }
}

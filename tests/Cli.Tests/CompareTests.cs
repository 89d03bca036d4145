using System.Text.Json;
using LowLevelSpec.Cli.Output;
using LowLevelSpec.Engine.Decoding;
using Xunit;

namespace LowLevelSpec.Cli.Tests;

/// <summary>What compare reports, and that it would notice a difference.</summary>
public sealed class CompareTests
{
    private const string Ids = """{"prompt_ids":[10,20,30]}""";

    [Fact]
    public void Compare_reports_each_prompt_each_file_and_all()
    {
        string first = TinyFiles.File(Ids + "\n\n{\"turns\":[\"The drafter\",\"ignored\"],\"category\":\"x\"}\n"), second = TinyFiles.File("\uFEFF{\"prompt\":\"A good tree\"}\r\n");
        CliRun run = CliRun.Of("compare", "--model", TinyFiles.Target, "--drafter", TinyFiles.Moa, "--prompts", first, "--prompts", second, "--max-new", "24", "--json", "-");
        Assert.Equal("", run.Error);
        Assert.Equal(0, run.Code);
        using JsonDocument document = JsonDocument.Parse(run.Out);
        JsonElement root = document.RootElement;
        Assert.Equal(3, root.GetProperty("prompts").GetInt32());
        Assert.Equal(3, root.GetProperty("identical").GetInt32());
        Assert.True(root.GetProperty("speedup").GetDouble() > 0);
        JsonElement[] prompts = [.. root.GetProperty("per_prompt").EnumerateArray()];
        Assert.Equal([0, 1, 2], prompts.Select(static p => p.GetProperty("index").GetInt32()));
        Assert.Equal([1, 3, 1], prompts.Select(static p => p.GetProperty("line").GetInt32()));
        Assert.All(prompts, static p => Assert.Equal(JsonValueKind.Null, p.GetProperty("first_difference").ValueKind));
        double committed = prompts.Sum(static p => p.GetProperty("new_tokens").GetInt32() - 1), passes = prompts.Sum(static p => p.GetProperty("target_passes").GetInt32());
        Assert.Equal(committed / passes, root.GetProperty("tau").GetDouble(), 12);
        Assert.Equal([2, 1], root.GetProperty("per_file").EnumerateArray().Select(static f => f.GetProperty("prompts").GetInt32()));
    }

    [Fact]
    public void Limit_counts_per_file_and_the_table_goes_to_standard_output()
    {
        string first = TinyFiles.File(Ids + "\n" + Ids), second = TinyFiles.File(Ids);
        string json = Path.Combine(TinyFiles.Folder, "compare.json");
        CliRun run = CliRun.Of("compare", "--model", TinyFiles.Target, "--drafter", "lookup", "--prompts", first, second, "--limit", "1", "--max-new", "4", "--json", json);
        Assert.Equal(0, run.Code);
        Assert.Contains("identical", run.Out);
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(json));
        Assert.Equal(2, document.RootElement.GetProperty("prompts").GetInt32());
    }

    [Fact]
    public void One_token_each_leaves_no_speedup_and_no_nan()
    {
        CliRun run = CliRun.Of("compare", "--model", TinyFiles.Target, "--drafter", "lookup", "--prompts", TinyFiles.File(Ids), "--max-new", "1", "--json");
        Assert.Equal(0, run.Code);
        using JsonDocument document = JsonDocument.Parse(run.Out);
        Assert.Equal(0, document.RootElement.GetProperty("tau").GetDouble());
        Assert.Equal(JsonValueKind.Null, document.RootElement.GetProperty("speedup").ValueKind);
    }

    [Theory]
    [InlineData(new[] { 1, 2, 3 }, new[] { 1, 2, 3 }, null)]
    [InlineData(new int[0], new int[0], null)]
    [InlineData(new[] { 1, 2, 3 }, new[] { 1, 5, 3 }, 1)]
    [InlineData(new[] { 1, 2, 3 }, new[] { 1, 2 }, 2)]
    [InlineData(new[] { 1 }, new[] { 1, 2 }, 1)]
    [InlineData(new int[0], new[] { 1 }, 0)]
    public void The_first_difference_is_found(int[] plain, int[] speculative, int? expected) =>
        Assert.Equal(expected, PromptComparison.FirstDifferenceOf(plain, speculative));

    [Fact]
    public void A_differing_prompt_is_counted()
    {
        GenerationResult Result(int[] ids) => new([1], ids, null, FinishReason.Length, new GenerationStatistics { NewTokens = ids.Length, TargetPasses = 1, VerifySeconds = 1 });
        CompareReport report = new([
            PromptComparison.From(0, "a", 1, Result([1, 2, 3]), Result([1, 2, 3])),
            PromptComparison.From(1, "b", 1, Result([1, 2, 3]), Result([1, 9, 3]))])
        {
            Model = "m",
            Drafter = "d",
            Backend = "b",
        };
        Assert.Equal((2, 1), (report.Prompts, report.Identical));
        Assert.Equal([1, 0], report.PerFile.Select(static f => f.Identical));
        using JsonDocument document = JsonDocument.Parse(Json.Indented(report));
        Assert.Equal(1, document.RootElement.GetProperty("per_prompt")[1].GetProperty("first_difference").GetInt32());
        Assert.False(document.RootElement.GetProperty("per_prompt")[1].GetProperty("identical").GetBoolean());
    }
}

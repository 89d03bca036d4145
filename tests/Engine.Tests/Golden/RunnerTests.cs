using System.Text.Json.Nodes;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Golden;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Golden;

/// <summary>The runner on folders of other shapes and settings, unharmed and with one thing changed in each.</summary>
public sealed class RunnerTests
{
    [Theory]
    [InlineData(2, 3, 2, 1)]
    [InlineData(3, 2, 4, 3)]
    [InlineData(6, 1, 5, 2)]
    [InlineData(5, 7, 63, 2)]
    public void Folders_with_other_trees_and_cycles_pass(int depth, int breadth, int total, int cycles)
    {
        using TemporaryFolder folder = new();
        GoldenFolder.WriteForward(folder.Path, new TreeSettings(depth, breadth, total), cycles);
        GoldenReport report = GoldenRunner.Run(new GoldenOptions(folder.Path));
        Assert.Empty(GoldenTests.Failures(report));
        Assert.Contains(report.Checks, c => c.Name == $"forward.safetensors {LoopRecorder.Prefix(cycles - 1)}draft.{depth - 1}.logits");
        Assert.Contains(report.Checks, c => c.Name == $"eagle-forward.safetensors {LoopRecorder.Prefix(cycles - 1)}verify.mask");
    }

    [Fact]
    public void A_prompt_of_several_chunks_is_put_together_again()
    {
        int[] prompt = [.. Enumerable.Range(0, 150).Select(static i => 3 + (i * 7 % 90))];
        using TemporaryFolder folder = new();
        GoldenFolder.WriteForward(folder.Path, new TreeSettings(3, 2, 3), 1, prompt);
        SortedDictionary<string, GoldenTensor> moa = GoldenFile.Read(Path.Combine(folder.Path, GoldenFolder.Case, "forward.safetensors"));
        Models.LlamaConfig config = TinyModels.Instance.Model.Config;
        Assert.Equal([150, config.VocabularySize], moa["target.logits"].Shape);
        Assert.Equal([150, config.Layers, config.KvSize], moa["lsa.input"].Shape);
        Assert.Equal([151, config.HiddenSize], moa["draft.1.sa_output"].Shape);
        Assert.Equal([151, 151], moa["draft.1.sa_mask"].Shape);
        SortedDictionary<string, GoldenTensor> eagle = GoldenFile.Read(Path.Combine(folder.Path, GoldenFolder.Case, "eagle-forward.safetensors"));
        Assert.Equal([150, 2 * config.HiddenSize], eagle["draft.1.fc_input"].Shape);
        Assert.Empty(GoldenTests.Failures(GoldenRunner.Run(new GoldenOptions(folder.Path))));
    }

    [Fact]
    public void A_prompt_of_one_token_and_cycles_that_accept_nothing_pass()
    {
        using TemporaryFolder folder = new();
        GoldenFolder.WriteForward(folder.Path, new TreeSettings(2, 1, 1), 4, GoldenFolder.Prompt[..1]);
        SortedDictionary<string, GoldenTensor> moa = GoldenFile.Read(Path.Combine(folder.Path, GoldenFolder.Case, "forward.safetensors"));
        Assert.Contains(moa, static t => t.Key.EndsWith("accepted_nodes", StringComparison.Ordinal) && t.Value.Shape.AsSpan().SequenceEqual([0]));
        Assert.Equal([2, 2], moa["draft.1.sa_mask"].Shape);
        Assert.Empty(GoldenTests.Failures(GoldenRunner.Run(new GoldenOptions(folder.Path))));
    }

    public static TheoryData<string, string, string> Harms => new()
    {
        { "forward.safetensors", "cycle1.verify.logits", "value" },
        { "forward.safetensors", "target.k.0", "value" },
        { "forward.safetensors", "draft.1.sa_cache_v", "nan" },
        { "forward.safetensors", "verify.mask", "value" },
        { "forward.safetensors", "frontier.1.parents", "value" },
        { "forward.safetensors", "ekv2e.output", "shape" },
        { "forward.safetensors", "draft.2.ca_position", "value" },
        { "eagle-forward.safetensors", "draft.2.fc_input", "value" },
        { "eagle-forward.safetensors", "cycle1.draft.2.mask", "value" },
        { "eagle-forward.safetensors", "tree.bonus", "value" },
    };

    [Theory]
    [MemberData(nameof(Harms))]
    public void One_changed_tensor_fails_and_nothing_else(string file, string tensor, string harm)
    {
        using TemporaryFolder folder = new();
        GoldenFolder.WriteForward(folder.Path, new TreeSettings(3, 2, 4), 2);
        GoldenFolder.Patch(Path.Combine(folder.Path, GoldenFolder.Case, file), tensor, t => Harm(t, harm));
        GoldenReport report = GoldenRunner.Run(new GoldenOptions(folder.Path));
        Check failure = Assert.Single(report.Checks, static c => c.Outcome.Status == CheckStatus.Failed);
        Assert.Equal($"{file} {tensor}", failure.Name);
        Assert.False(report.Succeeded);
    }

    [Fact]
    public void What_a_file_refers_to_must_be_there_and_what_it_lacks_must_not()
    {
        using TemporaryFolder folder = new();
        GoldenFolder.WriteForward(folder.Path, new TreeSettings(3, 2, 4), 1);
        string target = Path.Combine(folder.Path, GoldenFolder.Case);
        File.WriteAllText(Path.Combine(target, "notes.txt"), "not a golden file");
        File.Delete(Path.Combine(target, "eagle-forward.safetensors"));
        Directory.Delete(Path.Combine(target, "eagle"), recursive: true);
        GoldenReport report = GoldenRunner.Run(new GoldenOptions(folder.Path));
        Assert.Empty(GoldenTests.Failures(report));
        Assert.Equal(["transcripts.json"], report.Checks.Where(static c => c.Outcome.Status == CheckStatus.Skipped).Select(static c => c.Name).Order(StringComparer.Ordinal));

        Directory.Delete(Path.Combine(target, "moa"), recursive: true);
        string failure = Assert.Single(GoldenTests.Failures(GoldenRunner.Run(new GoldenOptions(folder.Path))));
        Assert.Contains("moa", failure);
        Assert.Contains("forward.safetensors", failure);
    }

    [Theory]
    [InlineData(2, 4, 3)]
    [InlineData(5, 1, 4)]
    [InlineData(8, 3, 30)]
    public void Transcripts_with_other_trees_pass(int depth, int breadth, int total)
    {
        Assert.Empty(GoldenTests.Failures(Transcript(new TreeSettings(depth, breadth, total))));
    }

    [Theory]
    [InlineData("tokens")]
    [InlineData("parents")]
    [InlineData("log_probs")]
    [InlineData("accepted_nodes")]
    [InlineData("prefix")]
    [InlineData("bonus")]
    public void A_changed_cycle_fails(string key)
    {
        GoldenReport report = Transcript(new TreeSettings(4, 3, 9), run =>
        {
            JsonNode cycle = run["cycles"]![1]!;
            cycle[key] = key switch
            {
                "prefix" => cycle[key]!.GetValue<int>() + 1,
                "bonus" => JsonValue.Create(cycle[key] is null ? 1 : cycle[key]!.GetValue<int>() + 1),
                "log_probs" => new JsonArray([.. cycle[key]!.AsArray().Select(static v => JsonValue.Create(v!.GetValue<double>() + 1e-3))]),
                "accepted_nodes" => new JsonArray([.. cycle[key]!.AsArray().Select(static v => JsonValue.Create(v!.GetValue<int>())), JsonValue.Create(9)]),
                "tokens" => new JsonArray([.. cycle[key]!.AsArray().Select(static (v, i) => JsonValue.Create(i == 4 ? 0 : v!.GetValue<int>()))]),
                _ => new JsonArray([.. cycle[key]!.AsArray().Select(static (v, i) => JsonValue.Create(i == 9 ? 0 : v!.GetValue<int>()))]),
            };
        });
        Assert.Contains("cycle 1", Assert.Single(GoldenTests.Failures(report)));
    }

    [Fact]
    public void A_run_with_a_near_tie_is_listed_where_only_its_cycles_differ()
    {
        static void Change(JsonObject run, double gap)
        {
            run["min_selection_gap"] = gap;
            run["accepted"]![0] = run["accepted"]![0]!.GetValue<int>() + 1;
        }

        GoldenReport near = Transcript(new TreeSettings(4, 3, 9), static run => Change(run, 1e-6));
        Assert.Empty(GoldenTests.Failures(near));
        Assert.Contains("near tie", Assert.Single(near.Checks, static c => c.Outcome.Note is not null).Outcome.Note);
        Assert.Single(GoldenTests.Failures(Transcript(new TreeSettings(4, 3, 9), static run => Change(run, 3e-5))));
        Assert.Single(GoldenTests.Failures(Transcript(new TreeSettings(4, 3, 9), static run =>
        {
            Change(run, 1e-6);
            run["output"]![2] = 1;
        })));
    }

    private static GoldenReport Transcript(TreeSettings tree, Action<JsonObject>? change = null)
    {
        using TemporaryFolder folder = new();
        GoldenFolder.WriteTranscript(folder.Path, tree, change);
        return GoldenRunner.Run(new GoldenOptions(folder.Path));
    }

    private static GoldenTensor Harm(GoldenTensor tensor, string harm)
    {
        switch (harm)
        {
            case "shape":
                return tensor with { Shape = [1, .. tensor.Shape] };
            case "nan":
                tensor.Floats![1] = float.NaN;
                return tensor;
            default:
                if (tensor.Floats is not null)
                {
                    tensor.Floats[^1] += 0.002f;
                }
                else
                {
                    tensor.Integers![^1] ^= 1;
                }

                return tensor;
        }
    }
}

using System.Text.Json;
using Xunit;

namespace LowLevelSpec.Cli.Tests;

/// <summary>What generate, inspect, doctor and make-tiny print.</summary>
public sealed class GenerateTests
{
    private static readonly string[] Speculative = ["--drafter", TinyFiles.Moa, "--max-new", "24"];

    [Theory]
    [InlineData("--json")]
    [InlineData("--json -")]
    public void Generate_prints_one_json_object(string json)
    {
        CliRun run = CliRun.Of(["generate", "--model", TinyFiles.Target, "--prompt-ids", "10,20,30", .. Speculative, .. json.Split(' ')]);
        Assert.Equal("", run.Error);
        Assert.Equal(0, run.Code);
        using JsonDocument document = JsonDocument.Parse(run.Out);
        JsonElement root = document.RootElement;
        Assert.Equal([10, 20, 30], root.GetProperty("prompt_ids").EnumerateArray().Select(static id => id.GetInt32()));
        int[] output = [.. root.GetProperty("output_ids").EnumerateArray().Select(static id => id.GetInt32())];
        Assert.InRange(output.Length, 1, 24);
        Assert.Equal(JsonValueKind.String, root.GetProperty("text").ValueKind);
        Assert.Contains(root.GetProperty("finish_reason").GetString(), new[] { "stop", "length" });
        int passes = root.GetProperty("target_passes").GetInt32();
        Assert.Equal((output.Length - 1) / (double)passes, root.GetProperty("tau").GetDouble(), 12);
        Assert.Equal(passes, root.GetProperty("accepted").GetArrayLength());
        Assert.Equal("moa", root.GetProperty("drafter").GetString());
        Assert.Equal(JsonValueKind.Array, root.GetProperty("accepted_per_depth").ValueKind);
        Assert.True(root.GetProperty("tokens_per_second").GetDouble() > 0);
        Assert.Equal(["prefill", "draft", "verify", "other"], root.GetProperty("seconds").EnumerateObject().Select(static part => part.Name));
    }

    [Fact]
    public void Json_text_is_null_without_a_tokenizer()
    {
        CliRun run = CliRun.Of("generate", "--model", TinyFiles.Mute, "--prompt-ids", "10,20", "--max-new", "3", "--json");
        Assert.Equal(0, run.Code);
        using JsonDocument document = JsonDocument.Parse(run.Out);
        Assert.Equal(JsonValueKind.Null, document.RootElement.GetProperty("text").ValueKind);
    }

    [Fact]
    public void A_drafter_does_not_change_the_text()
    {
        string[] common = ["generate", "--model", TinyFiles.Target, "--prompt", "The drafter", "--max-new", "40"];
        CliRun plain = CliRun.Of(common);
        Assert.Equal(0, plain.Code);
        Assert.True(plain.Out.Length > 10);
        foreach (string drafter in new[] { TinyFiles.Moa, "lookup", "none" })
        {
            Assert.Equal(plain, CliRun.Of([.. common, "--drafter", drafter]));
            Assert.Equal(plain, CliRun.Of([.. common, "--drafter", drafter, "--tree", "off"]));
        }
    }

    [Fact]
    public void A_json_file_leaves_the_text_on_standard_output()
    {
        string path = Path.Combine(TinyFiles.Folder, "report.json");
        string[] common = ["generate", "--model", TinyFiles.Target, "--prompt", "The drafter", "--max-new", "8"];
        CliRun run = CliRun.Of([.. common, "--json", path]);
        Assert.Equal(0, run.Code);
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(path));
        Assert.Equal(run.Out, document.RootElement.GetProperty("text").GetString() + Environment.NewLine);
    }

    [Fact]
    public void A_refused_request_leaves_a_json_file_as_it_was()
    {
        string kept = TinyFiles.File("before", ".json"), absent = Path.Combine(TinyFiles.Folder, "never.json");
        foreach (string path in new[] { kept, absent })
        {
            Assert.Equal(1, CliRun.Of("generate", "--model", TinyFiles.Target, "--prompt-ids", "9999", "--json", path).Code);
        }

        Assert.Equal("before", File.ReadAllText(kept));
        Assert.False(File.Exists(absent));
    }

    [Fact]
    public void A_prompt_can_come_from_standard_input_and_begin_with_anything()
    {
        CliRun given = CliRun.Of("generate", "--model", TinyFiles.Target, "--prompt", "@The drafter", "--max-new", "8");
        Assert.Equal(0, given.Code);
        Assert.Equal(given, CliRun.With("@The drafter", "generate", "--model", TinyFiles.Target, "--prompt", "-", "--max-new", "8"));
        Assert.Equal(0, CliRun.Of("generate", "--model", TinyFiles.Target, "--prompt", "-5 degrees", "--max-new", "8").Code);
    }

    [Fact]
    public void Control_tokens_in_a_prompt_stay_text_and_the_template_writes_them()
    {
        int plain = PromptTokens("--prompt", "<|end|>"), chat = PromptTokens("--prompt", "<|end|>", "--chat"), longer = PromptTokens("--prompt", "<|end|>", "--chat", "--system", "Be brief.");
        Assert.True(plain > 1);
        Assert.True(chat > plain);
        Assert.True(longer > chat);
    }

    [Fact]
    public void Greedy_is_the_default_and_a_seed_repeats_a_sample()
    {
        string[] sampled = ["generate", "--model", TinyFiles.Target, "--prompt-ids", "10,20", "--max-new", "30", "--ignore-eos", "--temperature", "1.5", "--seed"];
        CliRun first = CliRun.Of([.. sampled, "1"]);
        Assert.Equal(0, first.Code);
        Assert.Equal(first, CliRun.Of([.. sampled, "1"]));
        Assert.NotEqual(first, CliRun.Of([.. sampled, "18446744073709551615"]));
    }

    [Fact]
    public void Inspect_describes_a_model_and_its_drafter()
    {
        using JsonDocument model = Parse("inspect", TinyFiles.Target, "--json");
        Assert.Equal("model", model.RootElement.GetProperty("kind").GetString());
        Assert.Equal("llama", model.RootElement.GetProperty("architecture").GetString());
        Assert.True(model.RootElement.GetProperty("tokenizer").GetProperty("chat_template").GetBoolean());
        using JsonDocument alone = Parse("inspect", TinyFiles.Moa, "--json"), beside = Parse("inspect", TinyFiles.Moa, "--model", TinyFiles.Target, "--json");
        Assert.Equal("moa", alone.RootElement.GetProperty("architecture").GetString());
        Assert.Equal(JsonValueKind.Null, alone.RootElement.GetProperty("checked_against").ValueKind);
        Assert.Equal(TinyFiles.Target, beside.RootElement.GetProperty("checked_against").GetString());
        Assert.Contains("moa", CliRun.Of("inspect", TinyFiles.Moa).Out);
    }

    [Fact]
    public void Doctor_always_ends_well()
    {
        using JsonDocument report = Parse("doctor", "--json");
        Assert.True(report.RootElement.GetProperty("cores").GetInt32() >= 1);
        Assert.Contains(report.RootElement.GetProperty("simd_bits").GetInt32(), new[] { 32, 128, 256, 512 });
        CliRun table = CliRun.Of("doctor");
        Assert.Equal(0, table.Code);
        Assert.Contains("processor", table.Out);
    }

    [Fact]
    public void Make_tiny_writes_the_same_files_for_the_same_seed()
    {
        string[] folders = [Path.Combine(TinyFiles.Folder, "again"), Path.Combine(TinyFiles.Folder, "other")];
        Assert.Equal(0, CliRun.Of("make-tiny", "--out", folders[0], "--seed", "1").Code);
        Assert.Equal(0, CliRun.Of("make-tiny", "--out", folders[1], "--seed", "2").Code);
        byte[] expected = File.ReadAllBytes(Path.Combine(TinyFiles.Target, "model.safetensors"));
        Assert.True(expected.AsSpan().SequenceEqual(File.ReadAllBytes(Path.Combine(folders[0], "target", "model.safetensors"))));
        Assert.False(expected.AsSpan().SequenceEqual(File.ReadAllBytes(Path.Combine(folders[1], "target", "model.safetensors"))));
    }

    [Fact]
    public void The_demo_of_the_tiny_pair_says_that_the_text_is_the_same()
    {
        CliRun run = CliRun.Of("demo", "--tiny", "--max-new", "16");
        Assert.Equal(0, run.Code);
        Assert.Contains("identical to plain decoding: yes", run.Out);
    }

    private static int PromptTokens(params string[] prompt)
    {
        using JsonDocument report = Parse(["generate", "--model", TinyFiles.Target, "--max-new", "1", "--json", .. prompt]);
        return report.RootElement.GetProperty("prompt_ids").GetArrayLength();
    }

    private static JsonDocument Parse(params string[] args)
    {
        CliRun run = CliRun.Of(args);
        Assert.True(run.Code == 0, run.Error);
        return JsonDocument.Parse(run.Out);
    }
}

using System.Globalization;
using Xunit;

namespace LowLevelSpec.Cli.Tests;

/// <summary>Bad input: exit code 1, one sentence that names the culprit, nothing on standard output, no stack trace.</summary>
public sealed class BadInputTests
{
    [Theory]
    [InlineData("--prompt-ids", "--max-new abc", "--max-new")]
    [InlineData("--prompt-ids", "--max-new 0", "--max-new")]
    [InlineData("--prompt-ids", "--max-new -3", "--max-new")]
    [InlineData("--prompt-ids", "--max-new 1.5", "--max-new")]
    [InlineData("--prompt-ids", "--max-new 99999999999", "--max-new")]
    [InlineData("--prompt-ids", "--threads -1", "--threads")]
    [InlineData("--prompt-ids", "--threads 100000", "threads")]
    [InlineData("--prompt-ids", "--width 64", "--width")]
    [InlineData("--prompt-ids", "--kv-type f8", "--kv-type: found 'f8', expected f32, f16 or bf16")]
    [InlineData("--prompt-ids", "--context-length -1", "--context-length")]
    [InlineData("--prompt-ids", "--context-length 99999999", "99999999")]
    [InlineData("--prompt-ids", "--draft-until -1", "--draft-until")]
    [InlineData("--prompt-ids", "--tree 5,4", "--tree")]
    [InlineData("--prompt-ids", "--tree 5,4,x", "--tree")]
    [InlineData("--prompt-ids", "--tree 1,4,24", "depth")]
    [InlineData("--prompt-ids", "--tree 5,33,24", "breadth")]
    [InlineData("--prompt-ids", "--tree 5,4,64", "total")]
    [InlineData("--prompt-ids", "--tree on", "--tree")]
    [InlineData("--prompt-ids", "--temperature hot", "--temperature")]
    [InlineData("--prompt-ids", "--temperature NaN", "--temperature")]
    [InlineData("--prompt-ids", "--temperature 1e99", "--temperature")]
    [InlineData("--prompt-ids", "--temperature -1", "temperature")]
    [InlineData("--prompt-ids", "--top-k -1", "top-k")]
    [InlineData("--prompt-ids", "--top-p 0", "top-p")]
    [InlineData("--prompt-ids", "--top-p 1.01", "top-p")]
    [InlineData("--prompt-ids", "--min-p -0.1", "min-p")]
    [InlineData("--prompt-ids", "--min-p 1.01", "min-p")]
    [InlineData("--prompt-ids", "--repetition-penalty 0", "repetition")]
    [InlineData("--prompt-ids", "--frequency-penalty inf", "--frequency-penalty")]
    [InlineData("--prompt-ids", "--presence-penalty x", "--presence-penalty")]
    [InlineData("--prompt-ids", "--seed -1", "--seed")]
    [InlineData("--prompt-ids", "--seed 18446744073709551616", "--seed")]
    [InlineData("--prompt-ids", "--stop-token x", "--stop-token")]
    [InlineData("--prompt-ids", "--stop-token -1", "stop token")]
    [InlineData("--prompt-ids", "--stop-token 640", "stop token")]
    [InlineData("--prompt-ids", "--drafter /no/such/drafter", "/no/such/drafter")]
    [InlineData("--prompt-ids", "--drafter TARGET/config.json", "config.json")]
    [InlineData("--prompt-ids", "--drafter TARGET --tli 1", "--tli")]
    [InlineData("--prompt-ids", "--json /no/such/folder/report.json", "/no/such/folder")]
    public void Bad_values_end_with_1_and_one_sentence(string prompt, string options, string named)
    {
        string[] more = options.Replace("TARGET", TinyFiles.Target).Split(' ');
        AssertRefused(named, ["generate", "--model", TinyFiles.Target, prompt, "1,2,3", .. more]);
    }

    [Theory]
    [InlineData("")]
    [InlineData(" ")]
    [InlineData("a")]
    [InlineData("1,,2")]
    [InlineData("1;2")]
    [InlineData("1.0")]
    [InlineData("[1]")]
    [InlineData("9999999999")]
    [InlineData("-1")]
    [InlineData("0,640")]
    [InlineData("2147483647")]
    public void Unusable_token_ids_are_refused(string ids) => AssertRefused("", ["generate", "--model", TinyFiles.Target, "--prompt-ids", ids]);

    [Fact]
    public void A_report_does_not_overwrite_a_draft_vocabulary()
    {
        string ids = Path.Combine(Directory.CreateDirectory(Path.Combine(TinyFiles.Folder, "vocabulary")).FullName, "ids.txt");
        File.WriteAllText(ids, "1\n2\n3\n");
        AssertRefused("would overwrite", ["generate", "--model", TinyFiles.Target, "--drafter", TinyFiles.Moa, "--prompt-ids", "1,2,3", "--draft-vocabulary", ids, "--json", ids]);
        Assert.Equal("1\n2\n3\n", File.ReadAllText(ids));
    }

    [Fact]
    public void A_prompt_beyond_the_context_is_refused()
    {
        string ids = string.Join(',', Enumerable.Repeat("1", 16));
        AssertRefused("context", ["generate", "--model", TinyFiles.Target, "--context-length", "16", "--prompt-ids", ids]);
    }

    [Fact]
    public void An_empty_prompt_is_refused() => AssertRefused("empty", ["generate", "--model", TinyFiles.Target, "--prompt", ""]);

    [Fact]
    public void An_empty_stop_string_is_refused() => AssertRefused("top string", ["generate", "--model", TinyFiles.Target, "--prompt-ids", "1", "--stop", ""]);

    [Theory]
    [InlineData("--prompt hello", "tokenizer")]
    [InlineData("--prompt hello --chat", "tokenizer")]
    [InlineData("--prompt-ids 1 --stop x", "tokenizer")]
    public void Text_for_a_model_without_a_tokenizer_is_refused(string options, string named) =>
        AssertRefused(named, ["generate", "--model", TinyFiles.Mute, .. options.Split(' ')]);

    [Fact]
    public void A_model_without_a_tokenizer_can_not_chat() => AssertRefused("tokenizer", ["chat", "--model", TinyFiles.Mute]);

    [Theory]
    [InlineData("")]
    [InlineData("/no/such/model")]
    [InlineData("/no/such/model.gguf")]
    [InlineData("TINY")]
    [InlineData("TINY/moa")]
    [InlineData("TINY/target/config.json")]
    [InlineData("a\nb\u001b[31m")]
    public void Paths_that_hold_no_model_are_refused(string path)
    {
        path = path.Replace("TINY", TinyFiles.Folder);
        AssertRefused("", ["generate", "--model", path, "--prompt-ids", "1"]);
        AssertRefused("", ["chat", "--model", path]);
        AssertRefused("", ["compare", "--model", path, "--drafter", "lookup", "--prompts", TinyFiles.File("""{"prompt_ids":[1]}""")]);
        if (!path.EndsWith("moa"))
        {
            AssertRefused("", ["inspect", path]);
        }
    }

    [Theory]
    [InlineData("", "no prompts")]
    [InlineData("\n \n", "no prompts")]
    [InlineData("{\"prompt_ids\":[1]}\nnot json", "line 2")]
    [InlineData("{\"prompt_ids\":[1]}\n\n[1]", "line 3")]
    [InlineData("{\"prompt_ids\":[1]", "line 1")]
    [InlineData("{\"prompt_ids\":1}", "line 1")]
    [InlineData("{\"prompt_ids\":[1.5]}", "line 1")]
    [InlineData("{\"prompt_ids\":[\"1\"]}", "line 1")]
    [InlineData("{\"prompt_ids\":[99999999999]}", "line 1")]
    [InlineData("{\"prompt_ids\":[]}", "line 1")]
    [InlineData("{\"prompt_ids\":[640]}", "line 1")]
    [InlineData("{\"prompt_ids\":[-1]}", "line 1")]
    [InlineData("{\"turns\":[]}", "line 1")]
    [InlineData("{\"turns\":\"a\"}", "line 1")]
    [InlineData("{\"turns\":[1]}", "line 1")]
    [InlineData("{\"prompt\":null}", "line 1")]
    [InlineData("{\"prompt\":\"\\ud800\"}", "line 1")]
    [InlineData("{\"other\":1}", "line 1")]
    [InlineData("null", "line 1")]
    public void Unusable_prompt_files_are_refused_by_line(string content, string named)
    {
        string path = TinyFiles.File(content);
        string error = AssertRefused(named, ["compare", "--model", TinyFiles.Target, "--drafter", "lookup", "--prompts", path, "--max-new", "2"]);
        Assert.Contains(path, error);
    }

    [Fact]
    public void Deep_json_in_a_prompt_file_is_refused()
    {
        string path = TinyFiles.File(new string('[', 100_000));
        AssertRefused("line 1", ["compare", "--model", TinyFiles.Target, "--drafter", "lookup", "--prompts", path]);
    }

    [Fact]
    public void Bytes_that_are_no_text_in_a_prompt_file_are_refused()
    {
        string path = TinyFiles.File("");
        File.WriteAllBytes(path, [.. "{\"prompt\":\""u8, 0xC3, 0x28, .. "\"}"u8]);
        AssertRefused("line 1", ["compare", "--model", TinyFiles.Target, "--drafter", "lookup", "--prompts", path]);
    }

    [Fact]
    public void A_prompt_file_that_is_a_folder_is_refused() =>
        AssertRefused(TinyFiles.Folder, ["compare", "--model", TinyFiles.Target, "--drafter", "lookup", "--prompts", TinyFiles.Folder]);

    [Theory]
    [InlineData("target/model.safetensors", 100)]
    [InlineData("target/model.safetensors", 7)]
    [InlineData("moa/model.safetensors", 100)]
    [InlineData("target/config.json", 20)]
    public void Truncated_files_are_refused(string name, int bytes)
    {
        string folder = Directory.CreateDirectory(Path.Combine(TinyFiles.Folder, Guid.NewGuid().ToString("N", CultureInfo.InvariantCulture))).FullName;
        string source = Path.Combine(TinyFiles.Folder, Path.GetDirectoryName(name)!);
        foreach (string file in Directory.EnumerateFiles(source))
        {
            byte[] content = File.ReadAllBytes(file);
            File.WriteAllBytes(Path.Combine(folder, Path.GetFileName(file)), Path.GetFileName(file) == Path.GetFileName(name) ? content[..^bytes] : content);
        }

        AssertRefused(folder, ["inspect", folder]);
    }

    private static string AssertRefused(string named, string[] args)
    {
        CliRun run = CliRun.Of(args);
        Assert.True(run.Code == 1, $"exit code {run.Code}: {run.Error}");
        Assert.Empty(run.Out);
        Assert.StartsWith("llspec: ", run.Error);
        Assert.Contains(named, run.Error);
        string sentence = Assert.Single(run.Error.TrimEnd('\n').Split('\n'));
        Assert.DoesNotContain(sentence, char.IsControl);
        Assert.DoesNotContain("internal error", sentence);
        Assert.DoesNotContain("   at ", sentence);
        return run.Error;
    }
}

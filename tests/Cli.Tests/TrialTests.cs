using System.Diagnostics;
using System.Text.Json;
using Xunit;

namespace LowLevelSpec.Cli.Tests;

/// <summary>What people meet at the edges of the command line: empty values, endless inputs, reports over inputs, damaged files.</summary>
public sealed class TrialTests
{
    private static readonly string[] Generate = ["generate", "--model", TinyFiles.Target];
    private static readonly string[] Compare = ["compare", "--model", TinyFiles.Target, "--drafter", "lookup", "--max-new", "2", "--prompts"];

    [Theory]
    [InlineData("--prompt= --json", "prompt is empty")]
    [InlineData("--prompt-ids= --json", "--prompt-ids: found no token ids")]
    [InlineData("--prompt-ids: --json", "--prompt-ids: found no token ids")]
    [InlineData("--prompt-ids 1 --json=", "--json: found an empty value")]
    [InlineData("--prompt-ids 1 --drafter= --json", "--drafter: found an empty value")]
    public void An_empty_value_takes_no_argument_after_it(string options, string named) => Refused(named, [.. Generate, .. options.Split(' ')]);

    [Fact]
    public void An_empty_model_takes_no_argument_after_it() => Refused("--model: found an empty value", "generate", "--model=", "--prompt-ids", "1");

    [Fact]
    public void A_prompt_that_ends_like_an_empty_option_stays_a_prompt()
    {
        CliRun run = CliRun.Of([.. Generate, "--prompt", "-x=", "--max-new", "1", "--json"]);
        Assert.Equal((0, ""), (run.Code, run.Error));
    }

    [Theory]
    [InlineData("--prompt")]
    [InlineData("--prompt-ids")]
    public void An_endless_standard_input_is_refused(string option)
    {
        using EndlessReader input = new();
        using StringWriter output = new(), error = new();
        Assert.Equal(1, CliApp.Run([.. Generate, option, "-"], output, error, input));
        Assert.Equal($"llspec: {option} -: standard input has more than 64 MiB, too much for a prompt; shorten it{Environment.NewLine}", error.ToString());
        Assert.InRange(input.Given, 1, 65 << 20);
    }

    [Fact]
    public void A_report_never_overwrites_an_input()
    {
        string prompts = TinyFiles.File("""{"prompt_ids":[1]}"""), link = Path.Combine(TinyFiles.Folder, "link.json"), alias = Path.Combine(TinyFiles.Folder, "alias");
        File.CreateSymbolicLink(link, Path.Combine(TinyFiles.Target, "config.json"));
        Directory.CreateSymbolicLink(alias, TinyFiles.Target);
        string weights = Path.Combine(TinyFiles.Target, "model.safetensors");
        byte[] before = File.ReadAllBytes(weights);
        string[] generate = [.. Generate, "--drafter", TinyFiles.Moa, "--prompt-ids", "1", "--max-new", "2", "--json"];
        foreach (string file in new[] { weights, Path.Combine(TinyFiles.Target, "new.json"), Path.Combine(TinyFiles.Moa, "config.json"), link, Path.Combine(alias, "new.json") })
        {
            Refused("--json " + file, [.. generate, file]);
        }

        Refused("input", ["generate", "--model", weights, "--prompt-ids", "1", "--json", Path.Combine(TinyFiles.Target, "config.json")]);
        Refused("input", [.. Compare, prompts, "--json", prompts]);
        Refused("input", ["inspect", TinyFiles.Target, "--json", weights]);
        Assert.True(before.AsSpan().SequenceEqual(File.ReadAllBytes(weights)));
        Assert.False(File.Exists(Path.Combine(TinyFiles.Target, "new.json")));
        Assert.Contains("prompt_ids", File.ReadAllText(prompts));
    }

    [Fact]
    public void A_report_leaves_nothing_beside_it_and_devices_stay()
    {
        string folder = Directory.CreateDirectory(Path.Combine(TinyFiles.Folder, "reports")).FullName, file = Path.Combine(folder, "r.json");
        Assert.Equal(0, CliRun.Of([.. Generate, "--prompt-ids", "1", "--max-new", "2", "--json", file]).Code);
        Assert.Equal(0, CliRun.Of([.. Generate, "--prompt-ids", "1", "--max-new", "2", "--json", file]).Code);
        Assert.Equal(1, CliRun.Of([.. Generate, "--prompt-ids", "9999", "--json", Path.Combine(folder, "other.json")]).Code);
        Assert.Equal([file], Directory.EnumerateFileSystemEntries(folder));
        Assert.SkipUnless(OperatingSystem.IsLinux(), "needs Linux' devices");
        Assert.Equal(0, CliRun.Of("doctor", "--json", "/dev/null").Code);
        Refused("--out /proc/x: can't write the tiny pair here: no folder can be made there; choose another folder", "make-tiny", "--out", "/proc/x");
        Refused("--json /dev/full: can't be written: No space left on device", "doctor", "--json", "/dev/full");
    }

    [Theory]
    [InlineData("doctor --json /nonexistent/x.json", "--json /nonexistent/x.json: can't be written: no such folder; choose another file")]
    [InlineData("doctor --json TINY", "--json TINY: is a folder; name a file")]
    [InlineData("COMPARE TINY", "--prompts TINY: is a folder; give a file of JSON lines")]
    [InlineData("COMPARE -", "--prompts -: standard input is not supported here; give a file of JSON lines")]
    [InlineData("COMPARE /nonexistent/p", "--prompts /nonexistent/p: can't be read: no such folder; give a file of JSON lines")]
    [InlineData("make-tiny --out TINY/target/config.json", "--out TINY/target/config.json: can't write the tiny pair here: it is a file; choose another folder")]
    [InlineData("GENERATE --top-k 1.5", "--top-k: found '1.5', expected a whole number from 0 to 2147483647")]
    [InlineData("GENERATE --top-p x", "--top-p: found 'x', expected a number above 0 and at most 1")]
    [InlineData("GENERATE --device tpu", "--device: found 'tpu', expected cpu, cuda, cuda:N (N counts from 0) or emulated")]
    [InlineData("GENERATE --eagle-mask x", "--eagle-mask: found 'x', expected reference or aligned")]
    public void Messages_name_the_option_the_path_and_the_way_out(string line, string message)
    {
        line = line.Replace("COMPARE", string.Join(' ', Compare)).Replace("GENERATE", string.Join(' ', Generate) + " --prompt-ids 1").Replace("TINY", TinyFiles.Folder);
        Assert.Equal($"llspec: {message.Replace("TINY", TinyFiles.Folder)}{Environment.NewLine}", Refused("", line.Split(' ')));
    }

    [Fact]
    public void A_line_with_two_prompts_is_refused()
    {
        string path = TinyFiles.File("{\"prompt\":\"a\"}\n{\"prompt\":\"a\",\"prompt_ids\":[1]}");
        Refused($"{path} line 2: has prompt_ids and prompt", [.. Compare, path]);
    }

    [Fact]
    public void The_help_states_defaults_and_limits()
    {
        string help = string.Join(' ', CliRun.Of("generate", "--help").Out.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
        foreach (string named in new[] { "auto (the default) chooses each step's by measured costs", "depth (2..32), breadth (1..32) and total tokens (1..63) fix it", "256 by default", "two runs give the same text", "--eagle-mask" })
        {
            Assert.Contains(named, help);
        }
    }

    [Fact]
    public void Either_eagle_mask_gives_the_same_text()
    {
        string[] common = [.. Generate, "--prompt", "The drafter", "--max-new", "24", "--drafter", Path.Combine(TinyFiles.Folder, "eagle"), "--eagle-mask"];
        CliRun reference = CliRun.Of([.. common, "reference"]);
        Assert.Equal(0, reference.Code);
        Assert.Equal(reference, CliRun.Of([.. common, "aligned"]));
    }

    [Fact]
    public void Inspect_refuses_a_template_that_can_not_render()
    {
        string folder = Copy("target", "tokenizer_config.json", static text => text.Replace("\"chat_template\":", "\"chat_template\":\"{{ raise_exception('no talk') }}\",\"was\":"));
        Assert.Contains(folder, Refused("no talk", "inspect", folder));
    }

    [Fact]
    public void Inspect_notes_a_tokenizer_that_knows_more_than_the_model()
    {
        string folder = Copy("target", "tokenizer.json", static text => text.Replace("\"added_tokens\":[", "\"added_tokens\":[{\"id\":700,\"content\":\"<|extra|>\",\"special\":true},"));
        CliRun json = CliRun.Of("inspect", folder, "--json");
        Assert.True(json.Code == 0, json.Error);
        using JsonDocument document = JsonDocument.Parse(json.Out);
        Assert.Contains("the tokenizer knows", document.RootElement.GetProperty("warnings")[0].GetString());
        Assert.Contains("- the tokenizer knows", CliRun.Of("inspect", folder).Out);
    }

    [Theory]
    [InlineData("target")]
    [InlineData("moa")]
    public void Inspect_refuses_values_that_are_not_finite(string name)
    {
        string folder = Copy(name, "model.safetensors", null);
        string weights = Path.Combine(folder, "model.safetensors");
        byte[] bytes = File.ReadAllBytes(weights);
        bytes.AsSpan(^2..).Fill(0xFF);
        File.WriteAllBytes(weights, bytes);
        Refused("holds values that are not finite; the file is damaged, download or convert it again", "inspect", folder);
    }

    [Theory]
    [InlineData("moa", true)]
    [InlineData("eagle", false)]
    [InlineData("independent", false)]
    public void Only_a_moa_drafter_has_target_layer_inference(string name, bool said) =>
        Assert.Equal(said, CliRun.Of("inspect", Path.Combine(TinyFiles.Folder, name), "--model", TinyFiles.Target).Out.Contains("target layers run"));

    [Fact]
    public void Tables_begin_with_their_head()
    {
        string doctor = CliRun.Of("doctor").Out, inspect = CliRun.Of("inspect", TinyFiles.Target).Out;
        Assert.StartsWith("| what", doctor);
        Assert.StartsWith("| what", inspect);
        Assert.Contains("\n\n| type", inspect);
        Assert.InRange(doctor.Split("CUDA").Length - 1, 1, 1);
    }

    [Fact]
    public void A_full_device_on_standard_output_is_named()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "needs /dev/full");
        (int code, string error) = Bash("'{0}' doctor --json > /dev/full");
        Assert.Equal((1, "llspec: standard output: No space left on device; make room, or send the output elsewhere\n"), (code, error));
    }

    [Fact]
    public void The_shared_folder_is_the_one_that_is_named()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "needs a POSIX shell");
        string shared = Path.Combine(TinyFiles.Folder, "common");
        Directory.CreateDirectory(Path.Combine(shared, "models", "one"));
        File.WriteAllText(Path.Combine(shared, "models", "one", "model.safetensors"), "");
        (int code, string error) = Bash($"LLSPEC_SHARED='{shared}' '{{0}}' doctor | grep -q '{shared}/models/one'");
        Assert.Equal((0, ""), (code, error));
    }

    private static string Refused(string named, params string[] args)
    {
        CliRun run = CliRun.Of(args);
        Assert.True(run.Code == 1, $"exit code {run.Code}: {run.Error}{run.Out}");
        Assert.Empty(run.Out);
        Assert.Contains(named, run.Error);
        Assert.Single(run.Error.TrimEnd('\n').Split('\n'));
        return run.Error;
    }

    private static string Copy(string name, string changed, Func<string, string>? change)
    {
        string folder = Directory.CreateDirectory(Path.Combine(TinyFiles.Folder, Guid.NewGuid().ToString("N"))).FullName;
        foreach (string file in Directory.EnumerateFiles(Path.Combine(TinyFiles.Folder, name)))
        {
            File.Copy(file, Path.Combine(folder, Path.GetFileName(file)));
        }

        if (change is not null)
        {
            string path = Path.Combine(folder, changed), before = File.ReadAllText(path), after = change(before);
            Assert.NotEqual(before, after);
            File.WriteAllText(path, after);
        }

        return folder;
    }

    private static (int Code, string Error) Bash(string script)
    {
        script = script.Replace("{0}", Path.Combine(AppContext.BaseDirectory, "llspec"));
        ProcessStartInfo start = new("bash", ["-c", script]) { RedirectStandardError = true, UseShellExecute = false };
        using Process process = Process.Start(start)!;
        string error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, error);
    }

    /// <summary>Ones and commas without end.</summary>
    private sealed class EndlessReader : TextReader
    {
        public long Given { get; private set; }

        public override int Read(char[] buffer, int index, int count) => Read(buffer.AsSpan(index, count));

        public override int Read(Span<char> buffer)
        {
            buffer.Fill('1');
            Given += buffer.Length;
            return buffer.Length;
        }
    }
}

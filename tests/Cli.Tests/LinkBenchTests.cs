using System.Text.Json;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Cli.Tests;

public sealed class LinkBenchTests
{
    private static string Eagle => Path.Combine(TinyFiles.Folder, "eagle");

    [Fact]
    public void A_table_has_a_row_per_profile_and_method_with_identical_text()
    {
        string plot = Path.Combine(TinyFiles.Folder, "link.svg");
        CliRun run = CliRun.Of("link-bench", "--model", TinyFiles.Target, "--drafter", TinyFiles.Moa, "--eagle", Eagle, "--profile", "none,wifi", "--prompts", "2", "--max-new", "12", "--server-pass-ms", "1", "--json", "-", "--plot", plot);
        Assert.Equal(0, run.Code);
        using JsonDocument json = JsonDocument.Parse(run.Out);
        JsonElement root = json.RootElement;
        Assert.Equal(8, root.GetProperty("rows").GetArrayLength());
        Assert.Equal((16, 16), (root.GetProperty("answers").GetInt32(), root.GetProperty("identical").GetInt32()));
        foreach (JsonElement row in root.GetProperty("rows").EnumerateArray())
        {
            foreach (string figure in (string[])["ms_per_token", "calls_per_100_tokens", "bytes_up_per_token", "bytes_down_per_token", "first_token_p50_ms", "first_token_p95_ms", "tau", "round_trip_ms"])
            {
                Assert.True(row.GetProperty(figure).GetDouble() >= 0, figure);
            }
        }

        double[] calls = [.. root.GetProperty("rows").EnumerateArray().Take(4).Select(static r => r.GetProperty("calls_per_100_tokens").GetDouble())];
        Assert.Equal(100, calls[0]);
        Assert.True(calls[3] < 100);
        Assert.Equal([1040, 2048], root.GetProperty("scaled_to_8b").EnumerateArray().Select(static s => s.GetProperty("state_bytes").GetInt32()));
        Assert.Equal([10, 40, 100], root.GetProperty("stream_crossover").EnumerateArray().Select(static s => s.GetProperty("pass_ms").GetInt32()));
        Assert.Contains("<svg", File.ReadAllText(plot), StringComparison.Ordinal);
    }

    [Fact]
    public void Cuts_close_with_their_count()
    {
        CliRun run = CliRun.Of("link-bench", "--model", TinyFiles.Target, "--drafter", TinyFiles.Moa, "--cuts", "6", "--seed", "3", "--prompts", "3", "--max-new", "24", "--server-pass-ms", "2");
        Assert.Equal(0, run.Code);
        Assert.Equal("6 passed, 0 failed", run.Out.TrimEnd().Split('\n')[^1]);
    }

    [Fact]
    public void Clients_at_once_get_their_text()
    {
        CliRun run = CliRun.Of("link-bench", "--model", TinyFiles.Target, "--drafter", TinyFiles.Moa, "--clients", "4", "--seconds", "1", "--prompts", "3", "--max-new", "12", "--json", "-");

        // How much each gets in a second says more about the machine than about the server.
        using JsonDocument json = JsonDocument.Parse(run.Out);
        JsonElement root = json.RootElement;
        Assert.Equal(0, root.GetProperty("errors").GetArrayLength());
        Assert.True(root.GetProperty("answers").GetInt32() >= 4);
        Assert.Equal(root.GetProperty("answers").GetInt32(), root.GetProperty("identical").GetInt32());
        Assert.Equal((0, 0), (root.GetProperty("sessions_left").GetInt32(), root.GetProperty("kv_bytes_left").GetInt32()));
    }

    [Fact]
    public void Text_written_without_the_link_is_measured_by_distance()
    {
        CliRun run = CliRun.Of("link-bench", "--model", TinyFiles.Target, "--drafter", TinyFiles.Moa, "--eagle", Eagle, "--disconnected", "--prompts", "2", "--cuts-per-prompt", "2", "--json", "-");
        Assert.Equal(0, run.Code);
        using JsonDocument json = JsonDocument.Parse(run.Out);
        JsonElement[] curves = [.. json.RootElement.GetProperty("curves").EnumerateArray()];
        Assert.Equal(["moa", "eagle"], curves.Select(static c => c.GetProperty("kind").GetString()));
        foreach (JsonElement point in curves.SelectMany(static c => c.GetProperty("points").EnumerateArray()))
        {
            double agreement = point.GetProperty("agreement").GetDouble(), intact = point.GetProperty("intact").GetDouble();
            Assert.InRange(agreement, 0, 1);
            Assert.InRange(intact, 0, agreement);
            Assert.True(point.GetProperty("log_probability").GetDouble() <= 0);
        }
    }

    [Theory]
    [InlineData(2, "give one of", "link-bench")]
    [InlineData(2, "give one of", "link-bench", "--cuts", "1", "--clients", "2")]
    [InlineData(1, "found 'x'", "link-bench", "--profile", "lan,x")]
    [InlineData(1, "--cuts: found '0'", "link-bench", "--cuts", "0")]
    [InlineData(2, "one profile", "link-bench", "--cuts", "1", "--profile", "all", "--prompts", "1", "--max-new", "2")]
    [InlineData(2, "--methods: found 'x'", "link-bench", "--profile", "lan", "--methods", "moa,x")]
    [InlineData(2, "--tree: off drafts nothing", "link-bench", "--profile", "lan", "--tree", "off")]
    [InlineData(1, "--encoding: found 'int4'", "link-bench", "--profile", "lan", "--encoding", "int4")]
    public void Mistakes_are_told(int code, string words, params string[] arguments)
    {
        CliRun run = CliRun.Of(arguments);
        Assert.Equal(code, run.Code);
        Assert.Contains(words, run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void A_pack_is_written_and_its_sizes_told()
    {
        string pack = Path.Combine(TinyFiles.Folder, "device.gguf");
        CliRun run = CliRun.Of("pack-client", "--model", TinyFiles.Target, "--drafter", TinyFiles.Moa, "--out", pack, "--type", "q4_0", "--vocabulary", "400");
        Assert.Equal((0, ""), (run.Code, run.Error));
        Assert.Contains("draft head", run.Out, StringComparison.Ordinal);
        Assert.Contains($"{new FileInfo(pack).Length:N0}", run.Out, StringComparison.Ordinal);
        using ClientPack opened = ClientPack.Open(pack);
        Assert.Equal(400, opened.DraftTokens!.Count);

        // What has no effect with a pack is refused before any server is looked for.
        foreach (string[] unused in (string[][])[["--drafter-device", "auto"], ["--draft-until", "9"], ["--arithmetic", "exact"], ["--device", "cuda", "--tli", "1"]])
        {
            CliRun generate = CliRun.Of(["generate", "--server", "127.0.0.1:1", "--drafter", pack, "--prompt", "a", .. unused]);
            Assert.Equal(2, generate.Code);
            Assert.Contains($"leave {string.Join(", ", unused.Where(static word => word.StartsWith("--", StringComparison.Ordinal)))} out", generate.Error, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("expected .gguf", "--out", "pack.bin")]
    [InlineData("expected bf16, q8_0 or q4_0", "--out", "pack.gguf", "--type", "q2")]
    [InlineData("--vocabulary: found '0'", "--out", "pack.gguf", "--vocabulary", "0")]
    public void A_pack_that_cannot_be_made_is_refused(string words, params string[] arguments)
    {
        CliRun run = CliRun.Of(["pack-client", "--model", TinyFiles.Target, "--drafter", TinyFiles.Moa, .. arguments]);
        Assert.Equal(1, run.Code);
        Assert.Contains(words, run.Error, StringComparison.Ordinal);
    }
}

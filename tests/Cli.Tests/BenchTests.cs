using System.Text.Json;
using LowLevelSpec.Cli.Benchmarking;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Cli.Tests;

/// <summary>What bench reports, how it builds and asks its peer, and what it refuses.</summary>
public sealed class BenchTests
{
    private static readonly string[] Small = ["bench", "--threads", "1,2", "--rows", "2,3", "--context", "5", "--prompt-tokens", "7", "--decode-tokens", "3", "--repeats", "1", "--max-new", "6"];

    [Fact]
    public void The_report_has_every_figure_once_per_number_of_threads()
    {
        string json = Path.Combine(TinyFiles.Folder, "bench.json"), plot = Path.Combine(TinyFiles.Folder, "bench.svg");
        CliRun run = CliRun.Of([.. Small, "--model", TinyFiles.Target, "--drafter", TinyFiles.Moa, "--tree", "3,2,4", "--json", json, "--plot", plot]);
        Assert.Equal("", run.Error);
        Assert.Equal(0, run.Code);
        Assert.Contains("| threads |", run.Out);
        Assert.Contains("<svg", File.ReadAllText(plot));
        using JsonDocument document = JsonDocument.Parse(File.ReadAllText(json));
        JsonElement root = document.RootElement;
        Assert.True(root.GetProperty("read_bandwidth_gb_per_second").GetDouble() > 0);
        Assert.True(root.GetProperty("pass_bytes").GetInt64() > 0);
        JsonElement[] threads = [.. root.GetProperty("threads").EnumerateArray()];
        Assert.Equal([1, 2], threads.Select(static t => t.GetProperty("threads").GetInt32()));
        foreach (JsonElement t in threads)
        {
            Assert.True(t.GetProperty("decode_tokens_per_second").GetDouble() > 0);
            Assert.Equal(7, t.GetProperty("prompt_tokens").GetInt32());
            Assert.True(t.GetProperty("time_to_first_token_ms").GetDouble() > 0);
            Assert.Equal(JsonValueKind.Null, t.GetProperty("peer_tokens_per_second").ValueKind);
            Assert.Equal(JsonValueKind.Null, t.GetProperty("decode_over_peer").ValueKind);
            JsonElement[] rows = [.. t.GetProperty("rows").EnumerateArray()];
            Assert.Equal([1, 2, 3], rows.Select(static r => r.GetProperty("rows").GetInt32()));
            Assert.Equal(1, rows[0].GetProperty("relative").GetDouble());
            Assert.All(rows, static r => Assert.True(r.GetProperty("ms").GetDouble() > 0));
            JsonElement speculative = t.GetProperty("speculative");
            Assert.Equal("moa", speculative.GetProperty("drafter").GetString());
            Assert.Equal("3,2,4", speculative.GetProperty("tree").GetString());
            Assert.True(speculative.GetProperty("sets")[0].GetProperty("tau").GetDouble() >= 1);
        }
    }

    [Fact]
    public void A_model_without_a_tokenizer_is_measured_too()
    {
        string prompts = TinyFiles.File("""{"prompt_ids":[10,20,30]}""");
        CliRun run = CliRun.Of([.. Small, "--model", TinyFiles.Mute, "--drafter", "lookup", "--prompts", prompts, "--json", "-"]);
        Assert.Equal(0, run.Code);
        using JsonDocument document = JsonDocument.Parse(run.Out);
        Assert.Equal(prompts, document.RootElement.GetProperty("threads")[0].GetProperty("speculative").GetProperty("sets")[0].GetProperty("prompts").GetString());
    }

    [Theory]
    [InlineData("--threads: found '0'", "--threads", "0")]
    [InlineData("--rows: found 'x'", "--rows", "2,x")]
    [InlineData("--rows: found '513'", "--rows", "513")]
    [InlineData("--repeats: found '0'", "--repeats", "0")]
    [InlineData("--context: found '0'", "--context", "0")]
    [InlineData("behind 1000000 tokens", "--context", "1000000")]
    [InlineData("--plot: found 'x.gif'", "--plot", "x.gif")]
    [InlineData("holds no run.sh", "--peer", ".")]
    public void Bad_input_is_told(string expected, string option, string value)
    {
        CliRun run = CliRun.Of("bench", "--model", TinyFiles.Target, option, value);
        Assert.Equal(1, run.Code);
        Assert.Contains(expected, run.Error);
    }

    [Fact]
    public void The_peer_is_built_once_without_models_and_its_lines_are_read()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "the peer is built by a POSIX shell");
        string folder = Directory.CreateTempSubdirectory("llspec-peer-").FullName, cache = Path.Combine(folder, "cache"), model = Path.Combine(folder, "m.gguf");
        try
        {
            File.WriteAllText(model, "");
            File.WriteAllText(Path.Combine(folder, "run.sh"), """
                set -eu
                test "$STAGES" = install; test "$LLAMA_BENCH" = 1; test -z "$(echo $MODELS $QUANTS)"; test -n "$MODELS"
                cc "$PEER_DIR/nowhere/peak.c" -o "$PEER_DIR/peak"
                if cc "$PEER_DIR/nowhere/other.c" -o "$PEER_DIR/other"; then exit 3; fi
                test ! -e "$PEER_DIR/built"; touch "$PEER_DIR/built"
                mkdir -p "$PEER_DIR/llama.cpp-src/build/bin"
                cat > "$PEER_DIR/llama.cpp-src/build/bin/llama-bench" <<'END'
                #!/bin/sh
                case "$*" in *"-t 2 -d 5 -p 1,8 -n 3 -r 2 "*) ;; *) echo "unexpected: $*" >&2; exit 1 ;; esac
                echo 'a line that is no result'
                echo '{"build_number": 7, "build_commit": "abc", "n_prompt": 8, "n_gen": 0, "samples_ts": [10.5, 11]}'
                echo '{"build_number": 7, "build_commit": "abc", "n_prompt": 0, "n_gen": 3, "samples_ts": [2.5]}'
                END
                chmod +x "$PEER_DIR/llama.cpp-src/build/bin/llama-bench"
                """.ReplaceLineEndings("\n"));
            using StringWriter output = new(), error = new();
            CliConsole console = new(output, error, TextReader.Null);
            _ = LlamaBench.Prepare(folder, cache, model, console, CancellationToken.None);
            Assert.Contains("builds llama-bench", error.ToString());
            LlamaBench peer = LlamaBench.Prepare(folder, cache, model, console, CancellationToken.None);
            List<PeerResult> results = peer.Run(2, 5, [1, 8], 3, 2, CancellationToken.None);
            Assert.Equal([8, 0], results.Select(static r => r.Prompt));
            Assert.Equal([10.5, 11], results[0].TokensPerSecond);
            Assert.Equal("7 (abc)", peer.Version);
            InputException failed = Assert.Throws<InputException>(() => peer.Run(1, 5, [1], 3, 2, CancellationToken.None));
            Assert.Contains("unexpected: ", failed.Message);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public void Medians_and_quartiles_lie_between_the_samples()
    {
        Samples samples = new();
        samples.Add([5, 1, 4, 2]);
        Assert.Equal(3, samples.Median);
        Assert.Equal(new Spread(1.75, 4.25, 4), samples.Spread);
        samples.Add(100);
        Assert.Equal(4, samples.Median);
    }
}

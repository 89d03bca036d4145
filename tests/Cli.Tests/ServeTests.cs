using System.Text.Json;
using System.Text.RegularExpressions;
using Xunit;

namespace LowLevelSpec.Cli.Tests;

/// <summary>Two command lines that speak with each other: serve, and generate --server.</summary>
public sealed class ServeTests
{
    private static readonly string[] Prompt = ["--model", TinyFiles.Target, "--prompt", "The drafter", "--max-new", "40"];

    [Theory]
    [InlineData("draft")]
    [InlineData("per-call")]
    [InlineData("stream")]
    public async Task Remote_text_is_the_local_one(string method)
    {
        CliRun local = CliRun.Of(["generate", .. Prompt]);
        await using Serving server = await Serving.StartAsync();
        CliRun remote = CliRun.Of(["generate", "--server", server.Address, "--drafter", TinyFiles.Moa, "--remote-method", method, .. Prompt]);
        Assert.Equal((0, local.Out, ""), (remote.Code, remote.Out, remote.Error));
        CliRun json = CliRun.Of(["generate", "--server", server.Address, "--drafter", TinyFiles.Moa, "--remote-method", method, "--json", .. Prompt]);
        using JsonDocument report = JsonDocument.Parse(json.Out);
        Assert.Equal(local.Out.TrimEnd('\n'), report.RootElement.GetProperty("text").GetString());
        Assert.Equal(40, report.RootElement.GetProperty("verified").GetInt32());
        Assert.True(report.RootElement.GetProperty("statistics").GetProperty("calls").GetInt32() >= 1);
    }

    [Fact]
    public async Task Keys_and_tls_are_asked_for()
    {
        string keys = TinyFiles.File("# name secret limits\nalice s3cret sessions=2 tokens=100\n", ".txt");
        await using Serving server = await Serving.StartAsync("--api-keys", keys, "--tls-self-signed");
        string fingerprint = Regex.Match(server.Output, "sha256 ([0-9A-F]{64})").Groups[1].Value;
        string[] command = ["generate", "--server", server.Address, "--drafter", TinyFiles.Moa, "--tls-fingerprint", fingerprint, .. Prompt];
        CliRun refused = CliRun.Of(command);
        Assert.Equal(1, refused.Code);
        Assert.Contains("no API key", refused.Error);
        Assert.Contains("unknown API key", CliRun.Of([.. command, "--api-key", "guess"]).Error);
        Assert.Equal(0, CliRun.Of([.. command, "--api-key", "s3cret"]).Code);
    }

    [Fact]
    public void The_drafter_writes_alone_where_asked()
    {
        CliRun run = CliRun.Of(["generate", "--drafter-only", "--drafter", TinyFiles.Moa, "--json", "--ignore-eos", .. Prompt]);
        Assert.Equal(0, run.Code);
        using JsonDocument report = JsonDocument.Parse(run.Out);
        Assert.Equal(0, report.RootElement.GetProperty("verified").GetInt32());
        Assert.Equal(40, report.RootElement.GetProperty("output_ids").GetArrayLength());
    }

    [Theory]
    [InlineData(1, "--server: found 'nowhere'", "--server", "nowhere")]
    [InlineData(1, "can't be reached", "--server", "127.0.0.1:1")]
    [InlineData(1, "--on-reconnect: found 'maybe'", "--server", "127.0.0.1:1", "--on-reconnect", "maybe")]
    [InlineData(1, "--encoding: found 'int4'", "--server", "127.0.0.1:1", "--encoding", "int4")]
    [InlineData(1, "--remote-method: found 'x'", "--server", "127.0.0.1:1", "--remote-method", "x")]
    [InlineData(1, "remote decoding is greedy", "--server", "127.0.0.1:1", "--temperature", "1")]
    [InlineData(1, "--tls-fingerprint: found 'ab'", "--server", "127.0.0.1:1", "--tls-fingerprint", "ab")]
    [InlineData(2, "leave --server out", "--server", "127.0.0.1:1", "--drafter-only")]
    public void Bad_input_is_refused_in_one_sentence(int code, string sentence, params string[] options)
    {
        CliRun run = CliRun.Of(["generate", "--drafter", TinyFiles.Moa, .. Prompt, .. options]);
        Assert.Equal(code, run.Code);
        Assert.Contains(sentence, run.Error);
        Assert.Single(run.Error.TrimEnd('\n').Split('\n'));
        Assert.Empty(run.Out);
    }

    [Theory]
    [InlineData(1, "--listen: found 'here'", "--listen", "here")]
    [InlineData(1, "expected Mixture of Attentions", "--drafter", "EAGLE")]
    [InlineData(1, "the file of API keys can't be read", "--api-keys", "/no/such/file")]
    [InlineData(1, "--kv-budget: found '0'", "--kv-budget", "0")]
    [InlineData(2, "not both", "--tls-self-signed", "--tls-cert", "x.pem")]
    public void Bad_serve_options_are_refused_in_one_sentence(int code, string sentence, params string[] options)
    {
        CliRun run = CliRun.Of(["serve", "--model", TinyFiles.Target, .. options.Select(static option => option == "EAGLE" ? Path.Combine(TinyFiles.Folder, "eagle") : option)]);
        Assert.Equal(code, run.Code);
        Assert.Contains(sentence, run.Error);
    }

    /// <summary><c>llspec serve</c> on a free port, in this process.</summary>
    private sealed class Serving : IAsyncDisposable
    {
        private readonly StringWriter _written = new();
        private readonly CliConsole _console;
        private readonly Task<int> _run;

        private Serving(string[] options)
        {
            _console = new CliConsole(TextWriter.Synchronized(_written), TextWriter.Null, TextReader.Null);
            string[] command = ["serve", "--model", TinyFiles.Target, "--drafter", TinyFiles.Moa, "--listen", "127.0.0.1:0", "--drain", "1", .. options];
            _run = Task.Run(() => CliApp.Run(command, _console));
        }

        public string Output
        {
            get
            {
                lock (_console.Out)
                {
                    return _written.ToString();
                }
            }
        }

        public string Address => Regex.Match(Output, @"serving target on (\S+)").Groups[1].Value;

        public static async Task<Serving> StartAsync(params string[] options)
        {
            Serving server = new(options);
            while (!server.Output.Contains("serving") || (options.Contains("--tls-self-signed") && !server.Output.Contains("sha256")))
            {
                Assert.False(server._run.IsCompleted, "serve ended at once");
                await Task.Delay(10);
            }

            return server;
        }

        public async ValueTask DisposeAsync()
        {
            Assert.True(_console.Interrupts.TryCancel());
            Assert.Equal(130, await _run);
        }
    }
}

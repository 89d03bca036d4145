using System.Text;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Models;
using LowLevelSpec.Remote.Client;
using LowLevelSpec.Remote.Protocol;
using LowLevelSpec.Remote.Server;
using Xunit;

namespace LowLevelSpec.Remote.Tests;

/// <summary>The server goes and comes back: what a reader of the stream sees adds up to the target's text, or to the text as kept.</summary>
public sealed class OutageTests
{
    private static readonly TimeSpan Slow = TimeSpan.FromMilliseconds(10);

    [Theory]
    [InlineData("moa", RemoteMethod.Speculative)]
    [InlineData("eagle", RemoteMethod.Speculative)]
    [InlineData("independent", RemoteMethod.Speculative)]
    [InlineData("none", RemoteMethod.PerCall)]
    [InlineData("none", RemoteMethod.Streamed)]
    public async Task A_restarted_server_changes_nothing_in_the_text(string drafter, RemoteMethod method)
    {
        Loopback pair = Loopback.Instance;
        GenerationRequest request = Loopback.Request(1, 64);
        GenerationResult plain = pair.Plain(request);
        using Restarting server = await Restarting.StartAsync(Slow);
        RemoteOptions options = Loopback.To(server.Address) with { WriteAloneAfter = TimeSpan.Zero };
        RemoteStream stream = new RemoteGenerator(pair.Client(drafter), options).GenerateAsync(request, method);
        Reader reader = new();
        bool restarted = false;
        await foreach (RemoteChunk chunk in stream)
        {
            reader.Take(chunk);
            if (!restarted && reader.Tokens.Count >= 8)
            {
                restarted = true;
                await server.StopAsync();
                await Task.Delay(150);
                await server.StartAgainAsync();
            }
        }

        Assert.True(restarted);
        Assert.Equal(plain.OutputIds, stream.Result!.OutputIds);
        Assert.Equal(plain.OutputIds, reader.Tokens);
        Assert.Equal(plain.Text, reader.Text);
        Assert.Equal(0, reader.Unverified);
        Assert.Equal(plain.OutputIds.Count, stream.Result.Verified);
        Assert.True(stream.Result.Statistics.Rebuilds >= 1);
        Assert.Equal(stream.Result.Statistics.Reconnects, stream.Result.Statistics.ReconnectSeconds.Count);
    }

    [Fact]
    public async Task Text_written_alone_is_taken_back_from_the_first_difference()
    {
        // The random drafter hardly ever says what the target would.
        Loopback pair = Loopback.Instance;
        using ServedModel served = ServedModel.Open(pair.At("target"), pair.At("moa-random"));
        GenerationRequest request = Loopback.Request(1, 64);
        using Restarting server = await Restarting.StartAsync(Slow, served);
        RemoteStream stream = new RemoteGenerator(pair.Client("moa-random"), Loopback.To(server.Address) with { WriteAloneAfter = TimeSpan.Zero, MaxUnverified = 12 }).GenerateAsync(request);
        Reader reader = await ReadWithOutageAsync(stream, server, writtenAlone: 5);
        Assert.Equal(pair.Plain(request).Text, reader.Text);
        Assert.Equal(pair.Plain(request).OutputIds, stream.Result!.OutputIds);
        Assert.True(stream.Result.Statistics.WrittenAlone >= 5);
        Assert.True(stream.Result.Statistics.RolledBack > 0);
        Assert.Equal(reader.RolledBack, stream.Result.Statistics.RolledBack);
    }

    [Fact]
    public async Task Kept_text_stays_and_the_target_continues_it()
    {
        Loopback pair = Loopback.Instance;
        using ServedModel served = ServedModel.Open(pair.At("target"), pair.At("moa-random"));
        GenerationRequest request = Loopback.Request(1, 64);
        using Restarting server = await Restarting.StartAsync(Slow, served);
        RemoteOptions options = Loopback.To(server.Address) with { WriteAloneAfter = TimeSpan.Zero, MaxUnverified = 12, OnReconnect = OnReconnect.Keep };
        RemoteStream stream = new RemoteGenerator(pair.Client("moa-random"), options).GenerateAsync(request);
        Reader reader = await ReadWithOutageAsync(stream, server, writtenAlone: 5);
        Assert.Equal(0, reader.RolledBack);
        Assert.True(reader.Kept >= 5);
        Assert.Equal(reader.Tokens, stream.Result!.OutputIds);
        Assert.Equal(64, reader.Tokens.Count);
        Assert.Equal(64 - reader.Kept, stream.Result.Verified);

        // What follows the kept text is the target's own continuation of all before it.
        int[] soFar = [.. stream.Result.PromptIds, .. reader.Tokens.Take(reader.KeptEnd)];
        GenerationResult rest = pair.Plain(new GenerationRequest { PromptIds = soFar, MaxNewTokens = 64 - reader.KeptEnd, IgnoreEndTokens = true });
        Assert.Equal(rest.OutputIds, reader.Tokens.Skip(reader.KeptEnd));
    }

    [Fact]
    public async Task A_server_that_stays_away_leaves_an_unverified_tail()
    {
        Loopback pair = Loopback.Instance;
        GenerationRequest request = Loopback.Request(1, 200);
        using Restarting server = await Restarting.StartAsync(Slow);
        RemoteOptions options = Loopback.To(server.Address) with { WriteAloneAfter = TimeSpan.Zero, MaxUnverified = 10, GiveUpAfter = TimeSpan.FromMilliseconds(600) };
        RemoteStream stream = new RemoteGenerator(pair.Client("moa"), options).GenerateAsync(request);
        Reader reader = new();
        await foreach (RemoteChunk chunk in stream)
        {
            reader.Take(chunk);
            if (reader.Tokens.Count >= 8)
            {
                await server.StopAsync();
            }
        }

        Assert.Equal(10, reader.Unverified);
        Assert.Equal(reader.Tokens, stream.Result!.OutputIds);
        Assert.Equal(reader.Tokens.Count - 10, stream.Result.Verified);
        IReadOnlyList<int> plain = pair.Plain(request).OutputIds;
        Assert.Equal(plain.Take(stream.Result.Verified), stream.Result.OutputIds.Take(stream.Result.Verified));
    }

    [Fact]
    public async Task A_write_given_up_after_all_its_results_had_come_is_asked_for_anew()
    {
        // The stream is cut after two results; the server gives the rest up, and what it stored ends where the client already is. A machine that stands still for half a
        // second makes the client ask again: the same request has the same answer.
        int prompt = 0;
        List<ulong> requests = [];
        IEnumerable<ServerMessage?> Answer(ClientMessage message)
        {
            if (message.Start is { } start)
            {
                prompt = start.Tokens.Count;
                yield return Result(1, prompt, last: true);
                yield break;
            }

            ulong id = message.Write.RequestId;
            requests.Add(id);
            for (int i = 1; i <= 2; i++)
            {
                int verified = prompt + i + (id == 2 ? 0 : 2);
                bool end = id == 3 && i == 2, givenUp = requests.Count > 1 && id == 2 && i == 2;
                yield return Result(id, verified, last: end || givenUp, end ? Protocol.Finish.Length : Protocol.Finish.None);
            }

            if (requests.Count == 1)
            {
                yield return null;
            }
        }

        await using ScriptedServer server = await ScriptedServer.StartAsync(Answer);
        RemoteOptions options = Loopback.To(server.Address) with { GiveUpAfter = TimeSpan.FromSeconds(20) };
        RemoteResult result = await new RemoteGenerator(Loopback.Instance.Client("none"), options).RunAsync(Loopback.Request(1, 5), RemoteMethod.Streamed).WaitAsync(Patience.Longest);
        Assert.Equal((ulong[])[2, 3], requests.Distinct());
        Assert.True(result.Statistics.Reconnects >= 1);
        Assert.Equal([.. Enumerable.Range(prompt, 5)], result.OutputIds);
    }

    [Fact]
    public async Task An_answer_that_comes_again_slowly_is_waited_for()
    {
        // The stream is cut after twelve results, which come again on the next one. All of them together take longer than the deadline of an answer without progress; each is progress on its
        // stream, though the client has it already. Where a busy machine stands still for that long the answer comes once more.
        const int cut = 12;
        int prompt = 0, asked = 0;
        IEnumerable<ServerMessage?> Answer(ClientMessage message)
        {
            if (message.Start is { } start)
            {
                prompt = start.Tokens.Count;
                yield return Result(1, prompt, last: true);
                yield break;
            }

            bool first = asked++ == 0;
            for (int i = 1; i <= cut; i++)
            {
                Thread.Sleep(first ? 0 : 200);
                yield return Result(2, prompt + i, last: false);
            }

            yield return first ? null : Result(2, prompt + cut + 1, last: true, Protocol.Finish.Length);
        }

        await using ScriptedServer server = await ScriptedServer.StartAsync(Answer);
        RemoteOptions options = Loopback.To(server.Address) with { AnswerDeadline = TimeSpan.FromSeconds(2), GiveUpAfter = TimeSpan.FromSeconds(20) };
        RemoteResult result = await new RemoteGenerator(Loopback.Instance.Client("none"), options).RunAsync(Loopback.Request(1, cut + 2), RemoteMethod.Streamed).WaitAsync(Patience.Longest);
        Assert.Equal([.. Enumerable.Range(prompt, cut + 2)], result.OutputIds);
    }

    [Fact]
    public async Task A_server_whose_passes_take_long_is_waited_for()
    {
        // Longer than the second that an answer is given where nothing has been measured, and than one and a half, asking twice included.
        await using TargetServer server = await Loopback.Instance.StartAsync(new ServerOptions { PassTime = TimeSpan.FromSeconds(2) });
        GenerationRequest request = Loopback.Request(1, 3);
        await Patience.WithoutCutAsync(async () =>
        {
            RemoteResult result = await new RemoteGenerator(Loopback.Instance.Client("moa"), Loopback.To(server)).RunAsync(request);
            Assert.Equal(Loopback.Instance.Plain(request).OutputIds, result.OutputIds);
            return result.Statistics.Reconnects;
        });
    }

    [Theory]
    [InlineData(RemoteMethod.Speculative, 40)]
    [InlineData(RemoteMethod.Streamed, 24)]
    public async Task A_server_that_becomes_slow_is_waited_for(RemoteMethod method, int tokens)
    {
        // Answers are expected within some milliseconds, then, and asked for again after half a second; heartbeats are answered all the time.
        await using TargetServer server = await Loopback.Instance.StartAsync();
        GenerationRequest request = Loopback.Request(1, tokens);
        await Patience.WithoutCutAsync(async () =>
        {
            RemoteStream stream = new RemoteGenerator(Loopback.Instance.Client("moa"), Loopback.To(server)).GenerateAsync(request, method);
            int chunks = 0;
            server.PassTime = TimeSpan.FromMilliseconds(100);
            await foreach (RemoteChunk _ in stream)
            {
                chunks++;
                server.PassTime = chunks is 4 or 5 ? TimeSpan.FromSeconds(3) : TimeSpan.FromMilliseconds(20);
            }

            Assert.Equal(Loopback.Instance.Plain(request).OutputIds, stream.Result!.OutputIds);
            return stream.Result.Statistics.Reconnects;
        });
    }

    [Fact]
    public async Task A_server_that_streams_hears_of_its_client()
    {
        await using TargetServer server = await Loopback.Instance.StartAsync(new ServerOptions { PassTime = TimeSpan.FromMilliseconds(150), IdleTimeout = TimeSpan.FromSeconds(3) });
        GenerationRequest request = Loopback.Request(1, 32);
        RemoteOptions options = Loopback.To(server) with { Heartbeat = TimeSpan.FromMilliseconds(200) };
        await Patience.WithoutCutAsync(async () =>
        {
            RemoteResult result = await new RemoteGenerator(Loopback.Instance.Client("none"), options).RunAsync(request, RemoteMethod.Streamed);
            Assert.Equal(Loopback.Instance.Plain(request).OutputIds, result.OutputIds);
            return result.Statistics.Reconnects;
        });
    }

    [Fact]
    public async Task The_drafter_writes_alone_without_any_server()
    {
        Loopback pair = Loopback.Instance;
        foreach (string drafter in (string[])["moa", "independent"])
        {
            RemoteResult result = await new RemoteGenerator(pair.Client(drafter), new RemoteOptions()).RunAsync(Loopback.Request(1, 20), RemoteMethod.DrafterOnly);
            Assert.Equal(20, result.OutputIds.Count);
            Assert.Equal(0, result.Verified);
            Assert.Equal(20, result.Statistics.WrittenAlone);
        }

        // The independent drafter is a model of its own: alone it writes what that model writes.
        using Engine.LanguageModel independent = Engine.LanguageModel.Open(pair.At("independent"));
        GenerationRequest request = Loopback.Request(1, 20);
        RemoteResult own = await new RemoteGenerator(pair.Client("independent"), new RemoteOptions()).RunAsync(request, RemoteMethod.DrafterOnly);
        Assert.Equal(independent.Generate(request with { PromptIds = own.PromptIds, Prompt = null }).OutputIds, own.OutputIds);
    }

    [Fact]
    public async Task Nobody_listening_is_said_at_once()
    {
        Loopback pair = Loopback.Instance;
        RemoteOptions options = new() { Server = new Uri("http://127.0.0.1:1"), ConnectTimeout = TimeSpan.FromMilliseconds(300) };
        InputException refused = await Assert.ThrowsAsync<InputException>(() => new RemoteGenerator(pair.Client("moa"), options).RunAsync(Loopback.Request(0)));
        Assert.Contains("127.0.0.1:1", refused.Message);
    }

    /// <summary>Calls are lost at random; each is made again.</summary>
    [Fact]
    public async Task Lost_messages_are_asked_for_again()
    {
        Loopback pair = Loopback.Instance;
        await using TargetServer server = await pair.StartAsync();
        Random random = new(5);
        RemoteOptions options = Loopback.To(server.Address) with { AnswerDeadline = TimeSpan.FromMilliseconds(100), Faults = message => message.Open is null && message.Resume is null && random.Next(5) == 0 };
        for (int i = 0; i < 3; i++)
        {
            GenerationRequest request = Loopback.Request(i, 32);
            RemoteResult result = await new RemoteGenerator(pair.Client("moa"), options).RunAsync(request);
            Assert.Equal(pair.Plain(request).OutputIds, result.OutputIds);
        }
    }

    /// <summary>A scripted result: next to each place in the text a token of that number.</summary>
    private static ServerMessage Result(ulong id, int verified, bool last, Protocol.Finish finish = Protocol.Finish.None) =>
        new() { Result = new Result { RequestId = id, Verified = (uint)verified, Next = (uint)verified, Last = last, Finish = finish } };

    private static async Task<Reader> ReadWithOutageAsync(RemoteStream stream, Restarting server, int writtenAlone)
    {
        Reader reader = new();
        bool stopped = false, back = false;
        await foreach (RemoteChunk chunk in stream)
        {
            reader.Take(chunk);
            if (!stopped && reader.Tokens.Count >= 8)
            {
                stopped = true;
                await server.StopAsync();
            }
            else if (stopped && !back && reader.Unverified >= writtenAlone)
            {
                back = true;
                await server.StartAgainAsync();
            }
        }

        Assert.True(back);
        return reader;
    }

    /// <summary>Plays the chunks of a stream: what a careful user interface would show.</summary>
    private sealed class Reader
    {
        private readonly StringBuilder _text = new();

        public List<int> Tokens { get; } = [];

        public string Text => _text.ToString();

        public int Unverified { get; private set; }

        public int RolledBack { get; private set; }

        public int Kept { get; private set; }

        public int KeptEnd { get; private set; }

        public void Take(in RemoteChunk chunk)
        {
            int count = chunk.Tokens.Length;
            switch (chunk.Kind)
            {
                case ChunkKind.Verified:
                    Assert.Equal(0, Unverified);
                    Add(chunk);
                    break;
                case ChunkKind.Unverified:
                    // Each token's text is its own, or a part that is confirmed could not be told from the rest.
                    Assert.InRange(count, 0, 1);
                    Add(chunk);
                    Unverified += count;
                    break;
                case ChunkKind.Confirmed or ChunkKind.Kept:
                    Assert.Equal(Tokens.Skip(Tokens.Count - Unverified).Take(count), chunk.Tokens.ToArray());
                    Unverified -= count;
                    Kept += chunk.Kind == ChunkKind.Kept ? count : 0;
                    KeptEnd = chunk.Kind == ChunkKind.Kept ? Tokens.Count - Unverified : KeptEnd;
                    break;
                default:
                    Assert.Equal(Unverified, count);
                    Assert.Equal(Tokens.Skip(Tokens.Count - count), chunk.Tokens.ToArray());
                    Assert.EndsWith(chunk.Text, Text);
                    Tokens.RemoveRange(Tokens.Count - count, count);
                    _text.Length -= chunk.Text.Length;
                    RolledBack += count;
                    Unverified = 0;
                    break;
            }
        }

        private void Add(in RemoteChunk chunk)
        {
            Tokens.AddRange(chunk.Tokens.ToArray());
            _text.Append(chunk.Text);
        }
    }

    /// <summary>A server that can be stopped and started again at its address.</summary>
    private sealed class Restarting : IDisposable
    {
        private readonly ServedModel _served;
        private ServerOptions _options;
        private TargetServer? _server;

        private Restarting(ServedModel served, ServerOptions options) => (_served, _options) = (served, options);

        public Uri Address { get; private set; } = null!;

        public static async Task<Restarting> StartAsync(TimeSpan passTime, ServedModel? served = null)
        {
            Restarting server = new(served ?? Loopback.Instance.Served, new ServerOptions { PassTime = passTime });
            await server.StartAgainAsync();
            server._options = server._options with { Listen = server.Address.Authority };
            return server;
        }

        public async Task StartAgainAsync()
        {
            _server = await Loopback.StartAgainAsync(_served, _options);
            Address = _server.Address;
        }

        public async Task StopAsync()
        {
            if (_server is not null)
            {
                await _server.DisposeAsync();
                _server = null;
            }
        }

        public void Dispose() => StopAsync().GetAwaiter().GetResult();
    }
}

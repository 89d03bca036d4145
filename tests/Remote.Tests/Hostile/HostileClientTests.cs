using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using Google.Protobuf;
using Grpc.Core;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Remote.Client;
using LowLevelSpec.Remote.Protocol;
using LowLevelSpec.Remote.Server;
using Xunit;

namespace LowLevelSpec.Remote.Tests.Hostile;

/// <summary>Clients that lie, shout, stall and repeat themselves: each gets a clear refusal, and an honest client beside it its exact text.</summary>
public sealed class HostileClientTests
{
    private static readonly Loopback Pair = Loopback.Instance;

    public static TheoryData<string, string, StatusCode> Openings => new()
    {
        { "verify first", "expected open or resume", StatusCode.InvalidArgument },
        { "nothing in it", "expected open or resume", StatusCode.InvalidArgument },
        { "old protocol", "protocol version 99", StatusCode.FailedPrecondition },
        { "other target", "target weights differ", StatusCode.FailedPrecondition },
        { "other tokenizer", "tokenizer differ", StatusCode.FailedPrecondition },
        { "other drafter", "drafter weights differ", StatusCode.FailedPrecondition },
        { "no identity", "target weights differ", StatusCode.FailedPrecondition },
        { "unknown drafting", "expected none, moa or eagle", StatusCode.InvalidArgument },
        { "no encoding", "encodings", StatusCode.FailedPrecondition },
        { "unknown session", "no such session", StatusCode.NotFound },
        { "oversize", "a message of", StatusCode.ResourceExhausted },
    };

    [Theory]
    [MemberData(nameof(Openings))]
    public Task A_bad_opening_is_refused_in_words(string name, string words, StatusCode code) => BesideAnHonestClientAsync(new ServerOptions(), async server =>
    {
        await using RawClient client = new(server);
        await client.SendAsync(Opening(name));
        Status status = await client.EndAsync();
        Assert.Equal(code, status.StatusCode);
        Assert.Contains(words, status.Detail, StringComparison.Ordinal);
    });

    public static TheoryData<string, string> Requests => new()
    {
        { "start without tokens", "no tokens" },
        { "start beyond the vocabulary", "the model's vocabulary" },
        { "start beyond the context", "max_tokens" },
        { "start without room", "room for at least one" },
        { "start with more state than tokens", "known_state" },
        { "start with an end token beyond the vocabulary", "the model's vocabulary" },
        { "verify nothing", "0 drafted nodes" },
        { "verify a forest", "64 drafted nodes" },
        { "verify with too few parents", "parents" },
        { "verify with a parent after its child", "has parent" },
        { "verify a token beyond the vocabulary", "the model's vocabulary" },
        { "verify elsewhere", "found verified" },
        { "verify another root", "found root token" },
        { "write nothing", "max_tokens 0" },
        { "a gap", "is next" },
        { "the largest number", "is next" },
    };

    [Theory]
    [MemberData(nameof(Requests))]
    public Task A_bad_request_is_refused_and_the_session_goes_on(string name, string words) => BesideAnHonestClientAsync(new ServerOptions(), async server =>
    {
        await using RawClient client = new(server);
        Result first = await client.StartAsync();
        await client.SendAsync(Request(name, first));
        Refused refused = (await client.ReceiveAsync()).Refused;
        Assert.NotNull(refused);
        Assert.Contains(words, refused.Message, StringComparison.Ordinal);
        Assert.True(refused.Reason != Refusal.Gap || refused.Expected == 2);
        await client.SendAsync(new Write { RequestId = 2, Verified = first.Verified, Root = first.Next, MaxTokens = 1 });
        Assert.Equal(first.Verified + 1, (await client.ReceiveAsync()).Result.Verified);
    });

    [Fact]
    public Task A_second_opening_ends_the_stream() => BesideAnHonestClientAsync(new ServerOptions(), async server =>
    {
        await using RawClient client = new(server);
        await client.OpenAsync();
        await client.SendAsync(new ClientMessage { Open = RawClient.GoodOpen() });
        Assert.Equal(StatusCode.InvalidArgument, (await client.EndAsync()).StatusCode);
    });

    [Fact]
    public Task A_replayed_request_gets_the_stored_answer_and_an_old_one_none() => BesideAnHonestClientAsync(new ServerOptions(), async server =>
    {
        await using RawClient client = new(server);
        Result first = await client.StartAsync();
        Write write = new() { RequestId = 2, Verified = first.Verified, Root = first.Next, MaxTokens = 1 };
        await client.SendAsync(write);
        ServerMessage answer = await client.ReceiveAsync();
        for (int i = 0; i < 20; i++)
        {
            await client.SendAsync(write);
            Assert.Equal(answer.Result.Verified, (await client.ReceiveAsync()).Result.Verified);
        }

        // The first request once more: nothing comes of it, the next answer is that of the third.
        await client.SendAsync(RawClient.GoodStart());
        Result now = answer.Result;
        await client.SendAsync(new Write { RequestId = 3, Verified = now.Verified, Root = now.Next, MaxTokens = 1 });
        Assert.Equal((3UL, now.Verified + 1), ((await client.ReceiveAsync()).Result is var third ? third.RequestId : 0, third.Verified));
    });

    [Fact]
    public async Task A_session_is_its_owners_alone()
    {
        ServerOptions options = new() { ApiKeys = [new ApiKey("ann", "secret of ann", new KeyLimits()), new ApiKey("eve", "secret of eve", new KeyLimits())] };
        await using TargetServer server = await Pair.StartAsync(options);
        await using RawClient ann = new(server, "secret of ann"), eve = new(server, "secret of eve"), nobody = new(server), guesser = new(server, "secret");
        Opened opened = await ann.OpenAsync();
        await eve.SendAsync(new ClientMessage { Resume = new Resume { ProtocolVersion = ProtocolVersion.Current, ResumeToken = opened.ResumeToken } });
        Assert.Equal(StatusCode.NotFound, (await eve.EndAsync()).StatusCode);
        Assert.Equal(StatusCode.Unauthenticated, (await nobody.EndAsync()).StatusCode);
        Status unknown = await guesser.EndAsync();
        Assert.Equal(StatusCode.Unauthenticated, unknown.StatusCode);
        Assert.DoesNotContain("secret", unknown.Detail, StringComparison.Ordinal);
        await ann.SendAsync(RawClient.GoodStart());
        Assert.NotNull((await ann.ReceiveAsync()).Result);
    }

    [Fact]
    public async Task A_key_opens_no_more_sessions_than_it_may()
    {
        await using TargetServer server = await Pair.StartAsync(new ServerOptions { DefaultLimits = new KeyLimits { Sessions = 2 } });
        await using RawClient a = new(server), b = new(server), c = new(server);
        await a.OpenAsync();
        await b.OpenAsync();
        await c.SendAsync(new ClientMessage { Open = RawClient.GoodOpen() });
        Status status = await c.EndAsync();
        Assert.Equal(StatusCode.ResourceExhausted, status.StatusCode);
        Assert.Contains("2 sessions", status.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_prompt_counts_toward_the_tokens_per_minute()
    {
        // Three tokens of the four of a minute: the next three are not there for another half minute.
        ServerOptions options = new() { DefaultLimits = new KeyLimits { TokensPerMinute = 4 } };
        await using TargetServer server = await Pair.StartAsync(options);
        await using RawClient first = new(server), second = new(server);
        await first.StartAsync();
        await second.OpenAsync();
        await second.SendAsync(RawClient.GoodStart());
        Refused refused = (await second.ReceiveAsync()).Refused;
        Assert.Equal(Refusal.Busy, refused?.Reason);
        Assert.Contains("4 tokens per minute", refused!.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_prompt_that_is_run_again_is_paid_again()
    {
        // Eight of a minute: three for the prompt, one where the cache still holds all but its last token, three where a larger text needs another cache.
        ServerOptions options = new() { DefaultLimits = new KeyLimits { TokensPerMinute = 8 } };
        await using TargetServer server = await Pair.StartAsync(options);
        await using RawClient client = new(server);
        await client.StartAsync();
        foreach ((ulong id, uint most, bool served) in ((ulong, uint, bool)[])[(2, 64, true), (3, 65, true), (4, 66, false)])
        {
            Start again = RawClient.GoodStart(id);
            again.MaxTokens = most;

            // More than flows in meanwhile.
            again.Tokens.AddRange(served ? [] : [13u, 14, 15, 16, 17]);
            await client.SendAsync(again);
            ServerMessage answer = await client.ReceiveAsync();
            Assert.Equal(served, answer.Result is not null);
            Assert.Equal(served, answer.Refused is null);
        }
    }

    [Fact]
    public async Task A_flood_of_messages_ends_its_own_stream()
    {
        ServerOptions options = new() { ApiKeys = [new ApiKey("flood", "f", new KeyLimits { MessagesPerSecond = 20 }), new ApiKey("honest", "h", new KeyLimits())] };
        await BesideAnHonestClientAsync(options, async server =>
        {
            await using RawClient client = new(server, "f");
            await client.OpenAsync();
            Task<Status> end = client.EndAsync();

            // Many messages fit into the connection before the server has read the first: until it ends the stream.
            using CancellationTokenSource over = new(Patience.Longest);
            Exception? stopped = await Record.ExceptionAsync(async () =>
            {
                for (ulong i = 0; !over.IsCancellationRequested; i++)
                {
                    await client.SendAsync(new ClientMessage { Heartbeat = new Heartbeat { Number = i } });
                }
            });
            Status status = await end;
            Assert.NotNull(stopped);
            Assert.Equal(StatusCode.ResourceExhausted, status.StatusCode);
            Assert.Contains("messages per second", status.Detail, StringComparison.Ordinal);
        }, "h");
    }

    [Fact]
    public Task A_reader_that_does_not_read_is_dropped() => BesideAnHonestClientAsync(new ServerOptions { IdleTimeout = TimeSpan.FromSeconds(3), Grace = TimeSpan.FromMilliseconds(200) }, async server =>
    {
        // Answers of a replayed prompt are large; nobody takes them, so the server's own sending stalls.
        await using RawClient client = new(server);
        await client.SendAsync(new ClientMessage { Open = RawClient.GoodOpen(Drafting.Eagle) });
        Start start = new() { RequestId = 1, MaxTokens = 900, Tokens = { Enumerable.Range(0, 800).Select(static i => (uint)(i % 500)) } };
        await Record.ExceptionAsync(async () =>
        {
            for (int i = 0; i < 3000; i++)
            {
                await client.SendAsync(start).WaitAsync(TimeSpan.FromSeconds(2));
            }
        });
        await Patience.UntilAsync(() => server.Sessions == 0, "the server ends the session");
    });

    [Fact]
    public Task A_client_that_says_nothing_is_dropped() => BesideAnHonestClientAsync(new ServerOptions { IdleTimeout = TimeSpan.FromSeconds(3) }, async server =>
    {
        await using RawClient mute = new(server), silent = new(server);
        await silent.OpenAsync();
        Assert.Equal(StatusCode.DeadlineExceeded, (await silent.EndAsync()).StatusCode);
        Assert.Equal(StatusCode.DeadlineExceeded, (await mute.EndAsync()).StatusCode);
    });

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public Task Bytes_that_are_no_message_end_their_own_call(int kind) => BesideAnHonestClientAsync(new ServerOptions(), async server =>
    {
        byte[] garbage = new byte[2000];
        new Random(kind).NextBytes(garbage);
        byte[] body = kind switch
        {
            // A frame of garbage, a frame that announces two gigabytes, a frame cut short, and a compressed one.
            0 => [0, 0, 0, 0x07, 0xD0, .. garbage],
            1 => [0, 0x7F, 0xFF, 0xFF, 0xFF, .. garbage],
            2 => [0, 0, 0, 0x0F, 0xFF, .. garbage],
            _ => [1, 0, 0, 0x07, 0xD0, .. garbage],
        };
        using HttpClient http = new() { Timeout = Patience.Longest };
        using HttpRequestMessage request = new(HttpMethod.Post, new Uri(server.Address, "/llspec.remote.v1.Target/Session"))
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = new ByteArrayContent(body),
        };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/grpc");
        request.Headers.Add("te", "trailers");
        using HttpResponseMessage response = await http.SendAsync(request);
        await response.Content.ReadAsByteArrayAsync();
        string status = (response.TrailingHeaders.TryGetValues("grpc-status", out IEnumerable<string>? values) || response.Headers.TryGetValues("grpc-status", out values)) ? values.First() : "";
        Assert.NotEqual("0", status);
    });

    [Fact]
    public Task A_connection_that_speaks_no_http2_is_closed() => BesideAnHonestClientAsync(new ServerOptions(), async server =>
    {
        foreach (string hello in (string[])["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\0\0\0\0\0", new string('x', 100_000)])
        {
            using TcpClient raw = new();
            await raw.ConnectAsync(IPAddress.Loopback, server.Address.Port);
            await Record.ExceptionAsync(async () =>
            {
                await raw.GetStream().WriteAsync(System.Text.Encoding.ASCII.GetBytes(hello));
                raw.Client.Shutdown(SocketShutdown.Send);
                while (await raw.GetStream().ReadAsync(new byte[4096]).AsTask().WaitAsync(Patience.Longest) > 0)
                {
                }
            });
        }
    });

    private static ClientMessage Opening(string name)
    {
        Open open = RawClient.GoodOpen(name is "other drafter" or "no encoding" ? Drafting.Moa : Drafting.None);
        string other = new('0', 64);
        switch (name)
        {
            case "verify first": return new ClientMessage { Verify = new Verify { RequestId = 1 } };
            case "nothing in it": return new ClientMessage();
            case "unknown session": return new ClientMessage { Resume = new Resume { ProtocolVersion = ProtocolVersion.Current, ResumeToken = ByteString.CopyFrom(new byte[16]) } };
            case "oversize": return new ClientMessage { Resume = new Resume { ProtocolVersion = ProtocolVersion.Current, ResumeToken = ByteString.CopyFrom(new byte[2 << 20]) } };
            case "old protocol": open.ProtocolVersion = 99; break;
            case "other target": open.Identity.Target = other; break;
            case "other tokenizer": open.Identity.Tokenizer = other; break;
            case "other drafter": open.Identity.Drafter = other; break;
            case "no identity": open.Identity = null; break;
            case "unknown drafting": open.Drafting = (Drafting)77; break;
            default: open.Encodings.Clear(); break;
        }

        return new ClientMessage { Open = open };
    }

    private static ClientMessage Request(string name, Result first)
    {
        Start start = RawClient.GoodStart(2);
        Verify verify = new() { RequestId = 2, Verified = first.Verified, Root = first.Next, Tokens = { 5, 6 }, Parents = { 0, 1 } };
        Write write = new() { RequestId = 2, Verified = first.Verified, Root = first.Next, MaxTokens = 1 };
        switch (name)
        {
            case "start without tokens": start.Tokens.Clear(); break;
            case "start beyond the vocabulary": start.Tokens.Add(uint.MaxValue); break;
            case "start beyond the context": start.MaxTokens = uint.MaxValue; break;
            case "start without room": start.MaxTokens = 3; break;
            case "start with more state than tokens": start.KnownState = 4; break;
            case "start with an end token beyond the vocabulary": start.EndTokens.Add(1_000_000); break;
            case "verify nothing": verify.Tokens.Clear(); verify.Parents.Clear(); break;
            case "verify a forest": verify.Tokens.Add(Enumerable.Repeat(7u, 62)); verify.Parents.Add(Enumerable.Repeat(0u, 62)); break;
            case "verify with too few parents": verify.Parents.RemoveAt(1); break;
            case "verify with a parent after its child": verify.Parents[0] = 2; break;
            case "verify a token beyond the vocabulary": verify.Tokens[1] = 1_000_000; break;
            case "verify elsewhere": verify.Verified = uint.MaxValue; break;
            case "verify another root": verify.Root = first.Next + 1; break;
            case "write nothing": write.MaxTokens = 0; break;
            case "a gap": write.RequestId = 4; break;
            default: write.RequestId = ulong.MaxValue; break;
        }

        return name.StartsWith("start", StringComparison.Ordinal) ? new ClientMessage { Start = start }
            : name.StartsWith("verify", StringComparison.Ordinal) ? new ClientMessage { Verify = verify }
            : new ClientMessage { Write = write };
    }

    /// <summary>Runs an attack while an honest client writes, and once more after it.</summary>
    private static async Task BesideAnHonestClientAsync(ServerOptions options, Func<TargetServer, Task> attack, string? honestKey = null)
    {
        await using TargetServer server = await Pair.StartAsync(options);
        RemoteGenerator honest = new(Pair.Client("moa"), Loopback.To(server) with { ApiKey = honestKey, Heartbeat = TimeSpan.FromMilliseconds(200) });
        GenerationRequest request = Loopback.Request(0, 24);
        IReadOnlyList<int> plain = Pair.Plain(request).OutputIds;
        Task<RemoteResult> beside = honest.RunAsync(request);
        await attack(server);
        Assert.Equal(plain, (await beside.WaitAsync(Patience.Longest)).OutputIds);
        Assert.Equal(plain, (await honest.RunAsync(request).WaitAsync(Patience.Longest)).OutputIds);
    }
}

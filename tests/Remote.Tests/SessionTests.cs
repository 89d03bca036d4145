using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Models;
using LowLevelSpec.Remote.Client;
using LowLevelSpec.Remote.Protocol;
using LowLevelSpec.Remote.Server;
using Xunit;
using Encoding = LowLevelSpec.Remote.Protocol.Encoding;

namespace LowLevelSpec.Remote.Tests;

/// <summary>Sessions as the protocol describes them: numbering, replay, resumption, ownership, memory, drain.</summary>
public sealed class SessionTests
{
    private static readonly uint[] Prompt = [5, 9, 13, 21];

    [Fact]
    public async Task A_repeated_request_brings_the_stored_answer()
    {
        await using TargetServer server = await Loopback.Instance.StartAsync();
        await using RawClient client = await RawClient.OpenAsync(server);
        Result first = await client.StartAsync(1, Prompt);
        ClientMessage verify = Verify(2, first, 7, 8);
        Result answer = await client.AskAsync(verify);
        Assert.Equal(answer, await client.AskAsync(verify));
        Assert.Equal(answer, await client.AskAsync(verify));

        // Its number stands for the request: what the copy says does not count.
        Assert.Equal(answer, await client.AskAsync(Verify(2, first, 1, 2, 3)));
    }

    [Fact]
    public async Task Numbers_that_skip_are_refused_and_older_ones_ignored()
    {
        await using TargetServer server = await Loopback.Instance.StartAsync();
        await using RawClient client = await RawClient.OpenAsync(server);
        Result first = await client.StartAsync(1, Prompt);
        await client.SendAsync(Verify(3, first, 7));
        Refused gap = (await client.ReceiveAsync()).Refused;
        Assert.Equal((Refusal.Gap, 2UL), (gap.Reason, gap.Expected));
        Result second = await client.AskAsync(Verify(2, first, 7));
        await client.SendAsync(Verify(1, first, 7));
        Assert.Equal(3UL, (await client.AskAsync(Verify(3, second, 7))).RequestId);
    }

    [Fact]
    public async Task A_dropped_stream_is_resumed_by_token_and_its_answer_comes_again()
    {
        await using TargetServer server = await Loopback.Instance.StartAsync();
        RawClient lost = await RawClient.OpenAsync(server);
        Result first = await lost.StartAsync(1, Prompt);
        Result answer = await lost.AskAsync(Verify(2, first, 7));
        await lost.DisposeAsync();
        await using RawClient back = await RawClient.ResumeAsync(server, lost.ResumeToken);
        Assert.Equal(2UL, back.Hello.Resumed.LastRequestId);
        Assert.Equal(answer, await back.AskAsync(Verify(2, first, 7)));
        Assert.Equal(3UL, (await back.AskAsync(Verify(3, answer, 7))).RequestId);
        Assert.Equal(1, server.Sessions);
    }

    [Fact]
    public async Task Only_its_key_resumes_a_session()
    {
        ApiKey[] keys = [new ApiKey("a", "secret-a", new KeyLimits()), new ApiKey("b", "secret-b", new KeyLimits())];
        await using TargetServer server = await Loopback.Instance.StartAsync(new ServerOptions { ApiKeys = keys });
        RawClient owner = await RawClient.OpenAsync(server, "secret-a");
        await owner.StartAsync(1, Prompt);
        await owner.DisposeAsync();
        RpcException stranger = await Assert.ThrowsAsync<RpcException>(() => RawClient.ResumeAsync(server, owner.ResumeToken, "secret-b"));
        Assert.Equal(StatusCode.NotFound, stranger.StatusCode);
        foreach (string? wrong in (string?[])[null, "", "secret-c"])
        {
            RpcException refused = await Assert.ThrowsAsync<RpcException>(() => RawClient.ResumeAsync(server, owner.ResumeToken, wrong));
            Assert.Equal(StatusCode.Unauthenticated, refused.StatusCode);
        }

        await using RawClient again = await RawClient.ResumeAsync(server, owner.ResumeToken, "secret-a");
        Assert.NotNull(again.Hello.Resumed);
    }

    [Fact]
    public async Task Grace_ends_a_session_and_frees_its_memory()
    {
        await using TargetServer server = await Loopback.Instance.StartAsync(new ServerOptions { Grace = TimeSpan.FromMilliseconds(100) });
        RawClient client = await RawClient.OpenAsync(server);
        await client.StartAsync(1, Prompt);
        Assert.True(server.KvBytes > 0);
        await client.DisposeAsync();
        await Patience.UntilAsync(() => server.Sessions == 0 && server.KvBytes == 0, "the session ends and its memory is free");
        RpcException gone = await Assert.ThrowsAsync<RpcException>(() => RawClient.ResumeAsync(server, client.ResumeToken));
        Assert.Equal(StatusCode.NotFound, gone.StatusCode);
    }

    /// <summary>A target that stores 16 bits: half the bytes are reserved for it, the drafter's own f32 as before, and the text over the link is its plain text.</summary>
    [Theory]
    [InlineData(KvType.F16)]
    [InlineData(KvType.BF16)]
    public async Task Sessions_over_caches_of_16_bits_reserve_half_and_write_plain_text(KvType type)
    {
        Loopback pair = Loopback.Instance;
        using ServedModel served = ServedModel.Open(pair.At("target"), pair.At("moa"), new EngineOptions { Threads = 1, KvType = type });
        long[] bytes = new long[2];
        foreach (ServedModel model in (ServedModel[])[pair.Served, served])
        {
            await using TargetServer server = await TargetServer.StartAsync(model, new ServerOptions());
            await using RawClient client = await RawClient.OpenAsync(server);
            await client.StartAsync(1, Prompt);
            bytes[model == served ? 1 : 0] = server.KvBytes;
        }

        // A session of 64 tokens and a tree of 64 nodes; heads are padded to 16 elements.
        LlamaConfig config = served.Model.Config;
        Assert.Equal(2L * sizeof(ushort) * config.Layers * config.KvHeads * 128 * ((config.HeadSize + 15) / 16 * 16), bytes[0] - bytes[1]);
        await using TargetServer target = await TargetServer.StartAsync(served, new ServerOptions());
        RemoteResult result = await new RemoteGenerator(pair.Client("moa"), Loopback.To(target.Address)).RunAsync(Loopback.Request(1, 24));
        Assert.Equal(served.Model.Generate(Loopback.Request(1, 24)).OutputIds, result.OutputIds);
    }

    [Theory]
    [InlineData("moa")]
    [InlineData("eagle")]
    public async Task Evicted_sessions_are_rebuilt_and_write_the_same(string drafter)
    {
        // Room for two of these sessions: six clients keep taking it from each other. Where they happen to come one after the other, once more.
        const int rounds = 20;
        Loopback pair = Loopback.Instance;
        await using TargetServer server = await pair.StartAsync(new ServerOptions { KvBudgetBytes = 1_100_000, Grace = TimeSpan.FromSeconds(1) });
        for (int round = 0; round < rounds && server.Evictions == 0; round++)
        {
            RemoteResult[] results = await Task.WhenAll(Enumerable.Range(0, 6).Select(number => Task.Run(() =>
                new RemoteGenerator(pair.Client(drafter), Loopback.To(server.Address)).RunAsync(Loopback.Request(number, 24)))));
            for (int i = 0; i < results.Length; i++)
            {
                Assert.Equal(pair.Plain(Loopback.Request(i, 24)).OutputIds, results[i].OutputIds);
            }
        }

        Assert.True(server.Evictions > 0, "the budget was never short, so the test shows nothing");

        // A client gives the server a second to end the session; a busy one ends it when its grace is over.
        await Patience.UntilAsync(() => server.KvBytes == 0, "all memory is free");
    }

    [Fact]
    public async Task A_session_that_never_fits_is_refused_at_once()
    {
        Loopback pair = Loopback.Instance;
        await using TargetServer server = await pair.StartAsync(new ServerOptions { KvBudgetBytes = 1000 });
        InputException refused = await Assert.ThrowsAsync<InputException>(() => new RemoteGenerator(pair.Client("moa"), Loopback.To(server.Address)).RunAsync(Loopback.Request(0)));
        Assert.Contains("of which the server has 1000", refused.Message);
        Assert.Contains("--kv-budget", refused.Message);
    }

    [Fact]
    public async Task Other_weights_are_refused_by_name()
    {
        Loopback pair = Loopback.Instance;
        await using TargetServer server = await pair.StartAsync();
        InputException refused = await Assert.ThrowsAsync<InputException>(() => new RemoteGenerator(pair.Client("moa-random"), Loopback.To(server.Address)).RunAsync(Loopback.Request(0)));
        Assert.Contains("drafter weights differ", refused.Message);
    }

    [Fact]
    public async Task Draining_lets_sessions_end_and_takes_no_new_ones()
    {
        Loopback pair = Loopback.Instance;
        await Patience.WithoutCutAsync(async () =>
        {
            await using TargetServer server = await pair.StartAsync(new ServerOptions { PassTime = TimeSpan.FromMilliseconds(5) });
            GenerationRequest request = Loopback.Request(1, 60);
            RemoteStream stream = new RemoteGenerator(pair.Client("moa"), Loopback.To(server.Address)).GenerateAsync(request);
            Task? drain = null;
            await foreach (RemoteChunk chunk in stream)
            {
                if (drain is null && chunk.Tokens.Length > 0)
                {
                    drain = server.DrainAsync(TimeSpan.FromSeconds(20));
                    RpcException refused = await Assert.ThrowsAsync<RpcException>(() => RawClient.OpenAsync(server));
                    Assert.Equal(StatusCode.Unavailable, refused.StatusCode);
                }
            }

            await drain!;
            Assert.Equal(pair.Plain(request).OutputIds, stream.Result!.OutputIds);
            return stream.Result.Statistics.Reconnects;
        });
    }

    [Fact]
    public async Task Tls_is_trusted_by_fingerprint()
    {
        Loopback pair = Loopback.Instance;
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        CertificateRequest made = new("CN=test", key, HashAlgorithmName.SHA256);
        using X509Certificate2 unsaved = made.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        using X509Certificate2 certificate = X509CertificateLoader.LoadPkcs12(unsaved.Export(X509ContentType.Pkcs12), null);
        await using TargetServer server = await pair.StartAsync(new ServerOptions { Certificate = certificate });
        Assert.Equal("https", server.Address.Scheme);
        RemoteOptions options = Loopback.To(server.Address) with { ConnectTimeout = TimeSpan.FromMilliseconds(700) };
        string fingerprint = certificate.GetCertHashString(HashAlgorithmName.SHA256);
        RemoteResult result = await new RemoteGenerator(pair.Client("moa"), options with { CertificateFingerprint = fingerprint, ConnectTimeout = TimeSpan.FromSeconds(10) }).RunAsync(Loopback.Request(0));
        Assert.Equal(pair.Plain(Loopback.Request(0)).OutputIds, result.OutputIds);
        await Assert.ThrowsAsync<InputException>(() => new RemoteGenerator(pair.Client("moa"), options with { CertificateFingerprint = new string('0', 64) }).RunAsync(Loopback.Request(0)));
        await Assert.ThrowsAsync<InputException>(() => new RemoteGenerator(pair.Client("moa"), options).RunAsync(Loopback.Request(0)));
    }

    [Fact]
    public async Task Something_else_at_the_address_is_named()
    {
        Loopback pair = Loopback.Instance;
        await using TargetServer server = await pair.StartAsync(new ServerOptions { MetricsListen = "127.0.0.1:0" });
        foreach ((Uri address, string words) in ((Uri, string)[])[(server.MetricsAddress!, "does not speak gRPC"), (new UriBuilder(server.Address) { Scheme = "https" }.Uri, "no TLS connection")])
        {
            InputException e = await Assert.ThrowsAsync<InputException>(() => new RemoteGenerator(pair.Client("moa"), Loopback.To(address)).RunAsync(Loopback.Request(0)));
            Assert.Contains(words, e.Message, StringComparison.Ordinal);
            Assert.Contains("check", e.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Metrics_and_health_are_served()
    {
        Loopback pair = Loopback.Instance;
        await using TargetServer server = await pair.StartAsync(new ServerOptions { MetricsListen = "127.0.0.1:0" });
        await new RemoteGenerator(pair.Client("moa"), Loopback.To(server.Address)).RunAsync(Loopback.Request(0));
        using HttpClient http = new() { BaseAddress = server.MetricsAddress };
        string text = await http.GetStringAsync("/metrics");
        foreach (string name in (string[])["llspec_tau", "llspec_calls_per_100_tokens", "llspec_bytes_up", "llspec_bytes_down", "llspec_queue_duration_count", "llspec_sessions"])
        {
            Assert.Contains(name, text);
        }

        Assert.Equal("ok\n", await http.GetStringAsync("/healthz"));
        using GrpcChannel channel = GrpcChannel.ForAddress(server.Address);
        ServerInfo info = await new Protocol.Target.TargetClient(channel).DescribeAsync(new DescribeRequest());
        Assert.Equal(pair.Served.Identity.Target, info.Identity.Target);
        Assert.Equal("target", info.Model);
    }

    private static ClientMessage Verify(ulong id, Result before, params uint[] chain)
    {
        Verify verify = new() { RequestId = id, Verified = before.Verified, Root = before.Next };
        verify.Tokens.Add(chain);
        verify.Parents.Add(Enumerable.Range(0, chain.Length).Select(static i => (uint)i));
        return new ClientMessage { Verify = verify };
    }

    /// <summary>Speaks the protocol by hand.</summary>
    private sealed class RawClient : IAsyncDisposable
    {
        private readonly GrpcChannel _channel;
        private readonly AsyncDuplexStreamingCall<ClientMessage, ServerMessage> _call;

        private RawClient(TargetServer server, string? key)
        {
            _channel = GrpcChannel.ForAddress(server.Address);
            Metadata headers = [];
            if (key is not null)
            {
                headers.Add("authorization", $"Bearer {key}");
            }

            _call = new Protocol.Target.TargetClient(_channel).Session(headers);
        }

        public ByteString ResumeToken { get; private set; } = ByteString.Empty;

        public ServerMessage Hello { get; private set; } = new();

        public static async Task<RawClient> OpenAsync(TargetServer server, string? key = null)
        {
            ModelIdentity identity = Loopback.Instance.Served.Identity;
            Open open = new() { ProtocolVersion = 1, Drafting = Drafting.Moa, Identity = new Identity { Target = identity.Target, Tokenizer = identity.Tokenizer, Drafter = identity.Drafter } };
            open.Encodings.Add(Encoding.Int8);
            RawClient client = await EnterAsync(server, key, new ClientMessage { Open = open });
            client.ResumeToken = client.Hello.Opened.ResumeToken;
            return client;
        }

        public static Task<RawClient> ResumeAsync(TargetServer server, ByteString token, string? key = null) =>
            EnterAsync(server, key, new ClientMessage { Resume = new Resume { ProtocolVersion = 1, ResumeToken = token } });

        public async Task<Result> StartAsync(ulong id, uint[] tokens)
        {
            Start start = new() { RequestId = id, MaxTokens = 64 };
            start.Tokens.Add(tokens);
            return await AskAsync(new ClientMessage { Start = start });
        }

        /// <summary>Sends a request and waits for its result; states on the way are left aside.</summary>
        public async Task<Result> AskAsync(ClientMessage message)
        {
            await SendAsync(message);
            while (true)
            {
                ServerMessage answer = await ReceiveAsync();
                Assert.Null(answer.Refused);
                if (answer.Result is not null)
                {
                    return answer.Result;
                }
            }
        }

        public Task SendAsync(ClientMessage message) => _call.RequestStream.WriteAsync(message);

        public async Task<ServerMessage> ReceiveAsync()
        {
            Assert.True(await _call.ResponseStream.MoveNext(CancellationToken.None).WaitAsync(Patience.Longest));
            return _call.ResponseStream.Current;
        }

        public ValueTask DisposeAsync()
        {
            _call.Dispose();
            _channel.Dispose();
            return ValueTask.CompletedTask;
        }

        private static async Task<RawClient> EnterAsync(TargetServer server, string? key, ClientMessage hello)
        {
            RawClient client = new(server, key);
            try
            {
                await client.SendAsync(hello);
                client.Hello = await client.ReceiveAsync();
                return client;
            }
            catch
            {
                await client.DisposeAsync();
                throw;
            }
        }
    }
}

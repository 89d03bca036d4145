using System.Text;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Sampling;
using LowLevelSpec.Models;
using LowLevelSpec.Remote.Client;
using LowLevelSpec.Remote.Server;
using Xunit;

namespace LowLevelSpec.Remote.Tests;

/// <summary>Remote text equals local plain greedy decoding, token for token and character for character.</summary>
public sealed class LosslessTests
{
    public static TheoryData<string, RemoteMethod, StateEncoding> Cases => new()
    {
        { "moa", RemoteMethod.Speculative, StateEncoding.F32 },
        { "moa", RemoteMethod.Speculative, StateEncoding.Bf16 },
        { "moa", RemoteMethod.Speculative, StateEncoding.Int8 },
        { "moa-random", RemoteMethod.Speculative, StateEncoding.Int8 },
        { "eagle", RemoteMethod.Speculative, StateEncoding.Bf16 },
        { "eagle", RemoteMethod.Speculative, StateEncoding.Int8 },
        { "independent", RemoteMethod.Speculative, StateEncoding.Bf16 },
        { "none", RemoteMethod.PerCall, StateEncoding.Bf16 },
        { "none", RemoteMethod.Streamed, StateEncoding.Bf16 },
    };

    [Fact]
    public async Task Without_a_tree_nothing_is_drafted()
    {
        Loopback pair = Loopback.Instance;
        await using TargetServer server = await pair.StartAsync();
        GenerationRequest request = Loopback.Request(1);
        RemoteResult result = await new RemoteGenerator(pair.Client("moa"), Loopback.To(server)).RunAsync(request with { Tree = null });
        Assert.Equal(pair.Plain(request).OutputIds, result.OutputIds);
        Assert.Equal(0, result.Statistics.DraftedNodes);
    }

    [Fact]
    public void Requests_that_cannot_be_carried_out_are_refused()
    {
        RemoteGenerator generator = new(Loopback.Instance.Client("moa"), new RemoteOptions { Server = new Uri("http://127.0.0.1:1") });
        GenerationRequest good = Loopback.Request(0);
        foreach ((GenerationRequest request, string words) in ((GenerationRequest, string)[])
        [
            (good with { Sampling = null! }, "must not be null"),
            (good with { StopTokens = null! }, "must not be null"),
            (good with { Sampling = new SamplingOptions { TopP = 2 } }, "top"),
            (good with { Sampling = new SamplingOptions { Temperature = 1 } }, "greedy"),
            (good with { StopTokens = [-1] }, "stop token"),
            (good with { MaxNewTokens = 0 }, "max new tokens"),
        ])
        {
            Assert.Contains(words, Assert.Throws<InputException>(() => generator.GenerateAsync(request)).Message, StringComparison.OrdinalIgnoreCase);
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task Text_equals_plain_decoding(string drafter, RemoteMethod method, StateEncoding encoding)
    {
        // moa-random is made against another seed's weights of the same sizes, so its own server half must be served.
        Loopback pair = Loopback.Instance;
        using ServedModel? other = drafter == "moa-random" ? ServedModel.Open(pair.At("target"), pair.At(drafter)) : null;
        await using TargetServer server = await TargetServer.StartAsync(other ?? pair.Served, new ServerOptions());
        foreach (bool adaptive in (bool[])[true, false])
        {
            RemoteGenerator generator = new(pair.Client(drafter), Loopback.To(server) with { Encodings = [encoding], Adaptive = adaptive });
            for (int i = 0; i < 4; i++)
            {
                GenerationRequest request = Loopback.Request(i);
                GenerationResult plain = pair.Plain(request);
                StringBuilder text = new();
                List<int> tokens = [];
                RemoteStream stream = generator.GenerateAsync(request, method);
                await foreach (RemoteChunk chunk in stream)
                {
                    Assert.Equal(ChunkKind.Verified, chunk.Kind);
                    text.Append(chunk.Text);
                    tokens.AddRange(chunk.Tokens.ToArray());
                }

                Assert.Equal(plain.OutputIds, stream.Result!.OutputIds);
                Assert.Equal(plain.OutputIds, tokens);
                Assert.Equal(plain.Text, stream.Result.Text);
                Assert.Equal(plain.Text, text.ToString());
                Assert.Equal(plain.FinishReason, stream.Result.FinishReason);
                Assert.Equal(plain.OutputIds.Count, stream.Result.Verified);
            }
        }

        Assert.Equal(0, server.Sessions);
    }

    /// <summary>With unrounded state and the full tree a remote drafter proposes what a local one does, so it needs as many passes.</summary>
    [Theory]
    [InlineData("moa")]
    [InlineData("eagle")]
    [InlineData("independent")]
    public async Task Passes_are_as_many_as_locally(string drafter)
    {
        Loopback pair = Loopback.Instance;
        await using TargetServer server = await pair.StartAsync();
        RemoteGenerator generator = new(pair.Client(drafter), Loopback.To(server) with { Encodings = [StateEncoding.F32], Adaptive = false });
        using Drafter local = pair.Served.Model.OpenDrafter(pair.At(drafter));
        for (int i = 0; i < 3; i++)
        {
            GenerationRequest request = Loopback.Request(i);
            RemoteResult remote = await generator.RunAsync(request);
            GenerationResult expected = pair.Served.Model.Generate(request with { Drafter = local, Tree = TreeSettings.Default });
            Assert.Equal(expected.Statistics.TargetPasses, remote.Statistics.TargetPasses);
            Assert.Equal(expected.Statistics.DraftedNodes, remote.Statistics.DraftedNodes);
        }
    }

    [Fact]
    public async Task Texts_of_many_clients_at_once_are_each_their_own()
    {
        Loopback pair = Loopback.Instance;
        await using TargetServer server = await pair.StartAsync();
        string[] drafters = ["moa", "eagle", "independent", "none"];
        Task<(int Number, RemoteResult Result)>[] all = [.. Enumerable.Range(0, 16).Select(async number =>
        {
            string drafter = drafters[number % drafters.Length];
            RemoteGenerator generator = new(pair.Client(drafter), Loopback.To(server));
            RemoteMethod method = drafter != "none" ? RemoteMethod.Speculative : number % 8 == 3 ? RemoteMethod.PerCall : RemoteMethod.Streamed;
            return (number, await generator.RunAsync(Loopback.Request(number, 32), method));
        })];
        foreach ((int number, RemoteResult result) in await Task.WhenAll(all))
        {
            Assert.Equal(pair.Plain(Loopback.Request(number, 32)).OutputIds, result.OutputIds);
        }
    }
}

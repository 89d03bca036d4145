using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Backends.Ilgpu;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Remote.Client;
using LowLevelSpec.Remote.Server;
using Xunit;

namespace LowLevelSpec.Remote.Tests;

/// <summary>The client's drafter on a device of its own (here ILGPU's emulation): the text of local plain decoding over the wire.</summary>
public sealed class DeviceTests
{
    [Fact]
    public async Task A_client_drafts_on_its_device()
    {
        Loopback pair = Loopback.Instance;
        await using TargetServer server = await pair.StartAsync();
        string device = $"ilgpu:{IlgpuDevices.List().Single(static d => !d.IsGpu).Index}";
        using ClientModel client = ClientModel.Open(pair.At("target"), pair.At("moa"), new EngineOptions { Threads = 1 }, new DrafterOptions { Device = device });
        Assert.StartsWith("ilgpu:", client.BackendName, StringComparison.Ordinal);
        GenerationRequest request = Loopback.Request(1, 10) with { Tree = new TreeSettings(3, 2, 6) };
        RemoteResult result = await new RemoteGenerator(client, Loopback.To(server) with { Adaptive = false }).RunAsync(request);
        Assert.Equal(pair.Plain(request).OutputIds, result.OutputIds);
        Assert.True(result.Statistics.DraftedNodes > 0, "nothing was drafted");
    }
}

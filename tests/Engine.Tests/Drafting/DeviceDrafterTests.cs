using LowLevelSpec.Engine.Backends.Ilgpu;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Drafting;

/// <summary>A drafter on a device of its own (here ILGPU's emulation) beside a target on the CPU: the same text, the same drafts, clear refusals.</summary>
public sealed class DeviceDrafterTests
{
    private static readonly TinyModels Tiny = TinyModels.Instance;

    private static string Emulation => $"ilgpu:{IlgpuDevices.List().Single(static d => !d.IsGpu).Index}";

    [Theory]
    [InlineData("moa")]
    [InlineData("eagle")]
    [InlineData("independent")]
    public void It_drafts_what_it_drafts_beside_the_target(string name)
    {
        // A prompt longer than LSA mixes at once, sampling too: the target chooses with its own random stream.
        GenerationRequest request = new() { PromptIds = [.. Enumerable.Range(0, 37).Select(static i => i * 17 % 640)], MaxNewTokens = 10, IgnoreEndTokens = true, Tree = new TreeSettings(3, 2, 6) };
        using Drafter beside = Tiny.Open(name, Tiny.ExactModel), away = Tiny.ExactModel.OpenDrafter(Tiny.Path_(name), new DrafterOptions { Device = Emulation });
        Assert.Equal(beside.Kind, away.Kind);
        Assert.StartsWith("ilgpu:", away.DeviceName, StringComparison.Ordinal);
        using Generation expected = Tiny.ExactModel.Begin(request with { Drafter = beside }), actual = Tiny.ExactModel.Begin(request with { Drafter = away });
        expected.Prefill(CancellationToken.None);
        actual.Prefill(CancellationToken.None);
        int drafted = 0;
        while (expected.Finished is null)
        {
            expected.Step();
            actual.Step();
            drafted += actual.Tree.Count - 1;
            Assert.Equal(expected.Tokens.ToArray(), actual.Tokens.ToArray());
            Assert.Equal(expected.Tree.Tokens.ToArray(), actual.Tree.Tokens.ToArray());
            for (int node = 1; node < expected.Tree.Count; node++)
            {
                // Both round the same sums in another order; scores of the definition test are held to the same bound.
                Assert.Equal(expected.Tree.LogProbabilities[node], actual.Tree.LogProbabilities[node], 2e-3);
            }
        }

        Assert.True(drafted > 0, "nothing was drafted");
        Assert.Equal(expected.Finished, actual.Finished);
        IReadOnlyList<int> plain = Tiny.Model.Generate(request).OutputIds;
        Assert.Equal(plain, actual.Tokens[37..].ToArray());
    }

    [Fact]
    public void Sampled_text_is_the_same_too()
    {
        using Drafter away = Tiny.Model.OpenDrafter(Tiny.Path_("moa"), new DrafterOptions { Device = Emulation });
        GenerationRequest request = new() { Prompt = "The drafter", MaxNewTokens = 8, Sampling = new() { Temperature = 1, Seed = 3 }, Tree = new TreeSettings(3, 2, 5) };
        Assert.Equal(Tiny.Model.Generate(request).OutputIds, Tiny.Model.Generate(request with { Drafter = away }).OutputIds);
    }

    [Theory]
    [InlineData("gpu", "expected auto, cpu or ilgpu:N")]
    [InlineData("", "expected auto, cpu or ilgpu:N")]
    [InlineData("ilgpu:", "expected auto, cpu or ilgpu:N")]
    [InlineData("ilgpu:-1", "expected auto, cpu or ilgpu:N")]
    [InlineData("ilgpu:99", "there is none; found ilgpu:0")]
    public void Devices_that_are_none_are_refused(string device, string message)
    {
        InputException refused = Assert.Throws<InputException>(() => Tiny.Model.OpenDrafter(Tiny.Path_("moa"), new DrafterOptions { Device = device }));
        Assert.Contains(message, refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Target_layer_inference_stays_beside_the_target()
    {
        InputException refused = Assert.Throws<InputException>(() => Tiny.Model.OpenDrafter(Tiny.Path_("moa"), new DrafterOptions { Device = Emulation, TargetLayerInference = 1 }));
        Assert.Contains("target layer inference", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Cpu_and_drafters_without_weights_need_no_device()
    {
        using Drafter cpu = Tiny.Model.OpenDrafter(Tiny.Path_("moa"), new DrafterOptions { Device = "cpu" }), lookup = Tiny.Model.OpenDrafter("lookup", new DrafterOptions { Device = Emulation });
        Assert.Null(cpu.DeviceName);
        Assert.Null(lookup.DeviceName);
    }
}

using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Sampling;
using LowLevelSpec.Engine.Target;
using LowLevelSpec.Engine.Tests.Backends;
using LowLevelSpec.Engine.Tests.Backends.Cuda;
using LowLevelSpec.Interop.Cuda;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Decoding;

/// <summary>Whole generations on the CUDA backend: the tokens of the CPU backend, speculative ones exactly those of plain decoding, a cycle one graph.</summary>
[Collection(nameof(CudaFactory))]
public sealed class CudaDecodingTests(ITestOutputHelper output)
{
    /// <summary>
    /// What two logits may differ by and still be called a tie between the backends. Keys and values are bf16 there: each of the two errs by 2^-9 of itself in each of
    /// at most 4 layers, which moves a logit of up to 8 by up to 8 * 2 * 4 * 2^-9 = 0.125.
    /// </summary>
    private const double NearTie = 0.125;

    private static readonly TreeSettings Small = new(4, 2, 5);

    [Theory]
    [InlineData("moa")]
    [InlineData("moa-random")]
    [InlineData("moa trimmed")]
    [InlineData("eagle")]
    [InlineData("lookup")]
    public void Speculative_tokens_are_the_plain_ones(string name)
    {
        using LanguageModel model = Open("enumerable");
        using Drafter drafter = OpenDrafter(name, model);
        foreach (int[] prompt in (int[][])[[1], [3, 1, 4, 1, 5, 9, 2, 6]])
        {
            IReadOnlyList<int> plain = model.Generate(Request(prompt, 12)).OutputIds;
            foreach (TreeSettings tree in (TreeSettings[])[Small, new(3, 1, 2), new(2, 4, 3)])
            {
                Assert.Equal(plain, model.Generate(Request(prompt, 12) with { Drafter = drafter, Tree = tree }).OutputIds);
            }
        }
    }

    [Theory]
    [InlineData("moa", 1)]
    [InlineData("eagle", 1)]
    [InlineData("moa", 1.2)]
    public void Sampled_tokens_are_the_plain_ones(string name, float penalty)
    {
        using LanguageModel model = Open("enumerable");
        using Drafter drafter = TinyModels.Instance.Open(name, model, "enumerable");
        GenerationRequest request = Request([1, 2, 3], 10) with { Sampling = new SamplingOptions { Temperature = 0.8f, TopP = 0.95f, Seed = 5, RepetitionPenalty = penalty } };
        Assert.Equal(model.Generate(request).OutputIds, model.Generate(request with { Drafter = drafter, Tree = Small }).OutputIds);
    }

    [Theory]
    [InlineData(0.7, 0, 1, 0)]
    [InlineData(1.3, 20, 0.9, 0.02)]
    public void The_device_draws_as_the_host_does(float temperature, int topK, float topP, float minP)
    {
        CudaFactory.Require();
        const int vocabulary = 300, draws = 60;
        using Bench bench = new(new CudaFactory().Create(1));
        float[] logits = Bench.Values(vocabulary, 3, 2f);
        Matrix row = bench.Matrix(1, vocabulary, logits);
        SamplingOptions options = new() { Temperature = temperature, TopK = topK, TopP = topP, MinP = minP, Seed = 11 };
        TokenSampler sampler = new(options, vocabulary, []);
        int same = 0;
        for (int draw = 0; draw < draws; draw++)
        {
            Assert.True(bench.Backend.TrySample(row, options, draw, out int token));
            TokenId expected = sampler.Choose(logits);
            same += token == expected.Value ? 1 : 0;
            sampler.Commit(expected);
        }

        // Probabilities are rounded to 2^-40 there and to doubles here: a draw that falls between the two is one in 10^9.
        Assert.Equal(draws, same);
    }

    [Theory]
    [InlineData("moa", PrefillProducts.Kernels)]
    [InlineData("moa:1", PrefillProducts.Kernels)]
    [InlineData("moa", PrefillProducts.Cublas)]
    public void The_tiny_pair_writes_the_tokens_of_the_cpu(string name, PrefillProducts prefill)
    {
        CudaFactory.Require();
        if (prefill == PrefillProducts.Cublas)
        {
            CudaFactory.RequireCublas();
        }

        TinyModels tiny = TinyModels.Instance;
        using LanguageModel model = LanguageModel.Open(tiny.Path_("target"), new EngineOptions { Device = CudaFactory.Device, Prefill = prefill });
        using Drafter drafter = tiny.Open(name, model);
        int[] prompt = [.. tiny.Model.Tokenizer!.Encode("The drafter proposes")];
        int[] expected = [.. tiny.Model.Generate(Request(prompt, 8)).OutputIds];
        GenerationResult actual = model.Generate(Request(prompt, 8) with { Drafter = drafter, Tree = Small });
        Assert.True(actual.Statistics.Tau > 1, "nothing was accepted");
        CompareUpToTies(tiny.Model, prompt, expected, [.. actual.OutputIds]);
        Assert.Equal(model.Generate(Request(prompt, 8)).OutputIds, actual.OutputIds);
    }

    [Theory]
    [InlineData("moa", 0)]
    [InlineData("moa", 0.9)]
    [InlineData("moa:1", 0)]
    [InlineData("moa trimmed", 0)]
    [InlineData("moa trimmed", 0.9)]
    [InlineData("eagle", 0)]
    [InlineData("eagle", 0.9)]
    [InlineData("eagle aligned", 0)]
    [InlineData("eagle trimmed", 0)]
    [InlineData("independent", 0)]
    [InlineData("independent", 0.9)]
    public void A_recorded_cycle_does_what_the_loop_of_the_host_does(string name, float temperature)
    {
        using LanguageModel model = Open("enumerable");
        using Drafter drafter = OpenDrafter(name, model);
        GenerationRequest request = Request([3, 1, 4], 20) with { Drafter = drafter, Tree = Small, Sampling = new SamplingOptions { Temperature = temperature, Seed = 2 } };
        using Generation host = model.Begin(request, logitsOnDemand: false), device = model.Begin(request);
        host.Prefill(CancellationToken.None);
        device.Prefill(CancellationToken.None);
        while (host.Finished is null)
        {
            host.Step();
            device.Step();
            Assert.Equal(host.Tokens.ToArray(), device.Tokens.ToArray());
            Assert.Equal(host.LastAccepted, device.LastAccepted);
            Assert.Equal(host.AcceptedNodes.ToArray(), device.AcceptedNodes.ToArray());
        }

        Assert.Equal(host.Finished, device.Finished);
        Assert.True(device.Statistics().Tau > 1 || name.EndsWith("trimmed", StringComparison.Ordinal), "nothing was accepted");
        Assert.Equal(host.Statistics().DraftedNodes, device.Statistics().DraftedNodes);
    }

    [Theory]
    [InlineData("moa")]
    [InlineData("moa trimmed")]
    [InlineData("eagle")]
    [InlineData("independent")]
    [InlineData("none")]
    public void A_cycle_is_one_launch_and_one_wait_and_allocates_nothing(string name)
    {
        using LanguageModel model = Open("enumerable");
        Assert.SkipUnless(CudaFactory.Device == "emulated", "only the emulated device counts");
        using Drafter drafter = OpenDrafter(name, model);
        NativeCudaDriver driver = CudaDriver.Open(emulated: true);
        using Generation generation = model.Begin(Request([3, 1, 4], 120) with { Drafter = drafter, Tree = Small });
        generation.Prefill(CancellationToken.None);

        // What the runtime needs for a branch taken for the first time is no step's.
        const int WarmUp = 6;
        for (int i = 0; i < WarmUp; i++)
        {
            generation.Step();
        }

        for (int i = 0; i < 4; i++)
        {
            EmulatedCounts before = driver.Counts();
            long bytes = GC.GetAllocatedBytesForCurrentThread();
            generation.Step();
            Assert.Equal(bytes, GC.GetAllocatedBytesForCurrentThread());
            EmulatedCounts after = driver.Counts();
            Assert.Equal(before.GraphLaunches + 1, after.GraphLaunches);
            Assert.Equal(before.HostSynchronisations + 1, after.HostSynchronisations);
            Assert.Equal(before.DeviceAllocations, after.DeviceAllocations);
        }

        Assert.Null(generation.Finished);
        output.WriteLine($"kernels of a cycle: {CyclesKernels(driver, generation)}");
    }

    [Fact]
    public void Who_is_not_recorded_says_so()
    {
        using LanguageModel model = Open("enumerable");
        using Drafter lookup = model.OpenDrafter("lookup");
        using Generation generation = model.Begin(Request([3, 1, 4], 4) with { Drafter = lookup, Tree = Small });
        Assert.False(generation.Session.CanRecord);
        InvalidOperationException failure = Assert.Throws<InvalidOperationException>(() => generation.Session.RecordDraft(null!));
        Assert.Contains("Lookup", failure.Message, StringComparison.Ordinal);
        Assert.Contains("CanRecord", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Generations_at_the_same_time_do_not_disturb_each_other()
    {
        using LanguageModel model = Open("enumerable");
        using Drafter drafter = TinyModels.Instance.Open("moa", model, "enumerable");
        int[][] prompts = [[1, 2], [3], [5, 6, 7]];
        IReadOnlyList<int>[] alone = [.. prompts.Select(p => model.Generate(Request(p, 8)).OutputIds)];
        IReadOnlyList<int>[] together = await Task.WhenAll(prompts.Select(p => Task.Run(() => model.Generate(Request(p, 8) with { Drafter = drafter, Tree = Small }).OutputIds)));
        Assert.Equal(alone, together);
    }

    [Fact]
    public void Beyond_its_trained_length_a_drafter_is_left_out()
    {
        using LanguageModel model = Open("enumerable");
        using Drafter drafter = model.OpenDrafter(Path.Combine(TinyModels.Instance.Folder, "enumerable", "moa"), new DrafterOptions { MaxPosition = 9 });
        GenerationRequest request = Request([3, 1, 4], 14);
        Assert.Equal(model.Generate(request).OutputIds, model.Generate(request with { Drafter = drafter, Tree = Small }).OutputIds);
    }

    [Theory]
    [InlineData("gpu")]
    [InlineData("cuda:x")]
    [InlineData("cuda:-1")]
    [InlineData("cpu:0")]
    [InlineData("")]
    public void Unknown_devices_are_refused(string device)
    {
        InputException failure = Assert.Throws<InputException>(() => LanguageModel.Open(TinyModels.Instance.Path_("target"), new EngineOptions { Device = device }));
        Assert.Contains("--device", failure.Message, StringComparison.Ordinal);
    }

    private static long CyclesKernels(NativeCudaDriver driver, Generation generation)
    {
        long before = driver.Counts().Launches;
        generation.Step();
        return driver.Counts().Launches - before;
    }

    private static LanguageModel Open(string pair)
    {
        CudaFactory.Require();
        return LanguageModel.Open(Path.Combine(TinyModels.Instance.Folder, pair, "target"), new EngineOptions { Device = CudaFactory.Device });
    }

    /// <summary>
    /// A drafter for the enumerable target; "trimmed" leaves six of the ten tokens to its head, in an order of their own, "aligned" is EAGLE's own mask, "independent" the target itself.
    /// </summary>
    private static Drafter OpenDrafter(string name, LanguageModel model)
    {
        string[] parts = name.Split(' ');
        if (parts is ["moa" or "moa:1" or "moa-random" or "eagle" or "lookup" or "none"])
        {
            return TinyModels.Instance.Open(name, model, "enumerable");
        }

        DrafterOptions options = parts[^1] switch
        {
            "trimmed" => new() { DraftVocabulary = [9, 0, 3, 7, 5, 2] },
            "aligned" => new() { AlignedEagleMask = true },
            _ => new(),
        };
        return model.OpenDrafter(Path.Combine(TinyModels.Instance.Folder, "enumerable", parts[0] == "independent" ? "target" : parts[0]), options);
    }

    private static GenerationRequest Request(int[] prompt, int count) => new() { PromptIds = prompt, MaxNewTokens = count, IgnoreEndTokens = true };

    /// <summary>Fails unless the sequences agree up to a step where the CPU's logits of the two tokens lie closer than <see cref="NearTie"/>; lists that step.</summary>
    private void CompareUpToTies(LanguageModel cpu, int[] prompt, int[] expected, int[] actual)
    {
        int same = expected.AsSpan().CommonPrefixLength(actual);
        if (same == expected.Length && same == actual.Length)
        {
            return;
        }

        int[] before = [.. prompt, .. expected[..same]];
        using KvCache cache = cpu.Target.CreateCache(before.Length);
        using TargetPass pass = new(cpu.Backend, cpu.Target, before.Length, 1);
        PassBatch batch = new(before.Length, 1);
        for (int i = 0; i < before.Length; i++)
        {
            batch.AddCausal(cache, new TokenId(before[i]), new Position(i), new CacheRow(i));
        }

        float[] logits = new float[cpu.Config.VocabularySize];
        pass.Forward(batch);
        cpu.Backend.Read(pass.Logits(before.Length - 1, 1), logits);
        double gap = logits[expected[same]] - logits[actual[same]];
        output.WriteLine($"near-tie: token {same} is {actual[same]} where the CPU writes {expected[same]}; their logits are {gap:F4} apart");
        Assert.True(gap is >= 0 and < NearTie, $"token {same} is {actual[same]}, expected {expected[same]}, whose logit is {gap:F4} higher");
    }
}

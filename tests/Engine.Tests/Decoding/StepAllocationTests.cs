using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Sampling;
using LowLevelSpec.Engine.Tests.Backends;
using LowLevelSpec.Engine.Tests.Drafting.Adaptive;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Decoding;

/// <summary>A decode step in steady state allocates no managed byte, on any thread.</summary>
[Collection(nameof(NoParallelAllocations))]
public sealed class StepAllocationTests
{
    public static TheoryData<string, float> Cases
    {
        get
        {
            TheoryData<string, float> data = [];
            foreach (string name in TinyModels.Drafters)
            {
                data.Add(name, 0f);
                data.Add(name, 0.8f);
            }

            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void A_step_allocates_nothing(string name, float temperature) => Count(name, temperature, adapts: false);

    /// <summary>With costs at which the network always drafts, so that all of it runs.</summary>
    [Theory]
    [MemberData(nameof(Cases))]
    public void A_step_that_adapts_allocates_nothing(string name, float temperature) => Count(name, temperature, adapts: true);

    private static void Count(string name, float temperature, bool adapts)
    {
        TinyModels tiny = TinyModels.Instance;
        using Drafter drafter = tiny.Open(name);
        drafter.Costs = AdaptiveTests.Costs(network: 1e-6, row: 0.01);
        GenerationRequest request = new()
        {
            Prompt = "The text does not change",
            MaxNewTokens = 900,
            Drafter = drafter,
            Tree = adapts ? TreeSettings.Auto : TreeSettings.Default,
            IgnoreEndTokens = true,
            Sampling = new SamplingOptions { Temperature = temperature, TopP = 0.95f, FrequencyPenalty = temperature, Seed = 3 },
        };
        using Generation generation = tiny.Model.Begin(request);
        generation.Prefill(CancellationToken.None);

        // Steady state: JIT tiers settle and lazily grown scratch has its size.
        for (int i = 0; i < 60; i++)
        {
            generation.Step();
        }

        // Whatever a step allocates shows in every stretch. What a rare path costs the runtime when it is first taken shows in one: on a busy machine the network is switched off and on again.
        long allocated = long.MaxValue;
        for (int stretch = 0; stretch < 3 && allocated != 0; stretch++)
        {
            long mine = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 40; i++)
            {
                generation.Step();
            }

            allocated = Math.Min(allocated, GC.GetAllocatedBytesForCurrentThread() - mine);
        }

        Assert.Equal(0, allocated);
        Assert.Null(generation.Finished);
    }

    /// <summary>
    /// The backend's workers included, with every filter and penalty. The runner's own threads allocate now and then: one quiet stretch shows that
    /// steps do not.
    /// </summary>
    [Theory]
    [MemberData(nameof(Cases))]
    public void Steps_allocate_nothing_on_any_thread(string name, float temperature)
    {
        TinyModels tiny = TinyModels.Instance;
        using Drafter drafter = tiny.Open(name);
        using Generation generation = tiny.Model.Begin(new()
        {
            Prompt = "The text does not change",
            MaxNewTokens = 990,
            Drafter = drafter,
            Tree = new TreeSettings(7, 8, 62),
            IgnoreEndTokens = true,
            Sampling = new SamplingOptions { Temperature = temperature, TopK = 40, TopP = 0.95f, MinP = 0.01f, RepetitionPenalty = 1.05f, FrequencyPenalty = 0.1f, PresencePenalty = 0.1f, Seed = 3 },
        });
        Assert.Equal(0, LeastOfTwoSteps(generation, 960));
    }

    /// <summary>With keys and values of 16 bits likewise.</summary>
    [Theory]
    [InlineData(KvType.F16)]
    [InlineData(KvType.BF16)]
    public void Steps_over_caches_of_16_bits_allocate_nothing_on_any_thread(KvType type)
    {
        TinyModels tiny = TinyModels.Instance;
        using LanguageModel model = LanguageModel.Open(tiny.Path_("target"), new EngineOptions { Threads = 2, KvType = type, CacheFolder = "" });
        using Drafter drafter = tiny.Open("moa", model);
        using Generation generation = model.Begin(new() { Prompt = "The text does not change", MaxNewTokens = 990, Drafter = drafter, Tree = new TreeSettings(7, 8, 62), IgnoreEndTokens = true });
        Assert.Equal(0, LeastOfTwoSteps(generation, 960));
    }

    /// <summary>Integer arithmetic likewise: plain decoding, drafted steps of a fixed tree and of one that adapts, workers included.</summary>
    [Theory]
    [MemberData(nameof(IntegerCases))]
    public void Integer_steps_allocate_nothing_on_any_thread(TensorType type, string tree)
    {
        string path = Path.Combine(TinyModels.Instance.Folder, $"allocations-{type}-{tree}.gguf");
        QuantisedLosslessTests.Write(path, type);
        using LanguageModel model = LanguageModel.Open(path, new EngineOptions { Threads = 2, Arithmetic = Arithmetic.Auto, CacheFolder = "" });
        using Drafter drafter = model.OpenDrafter("lookup");
        drafter.Costs = AdaptiveTests.Costs(network: 1e-6, row: 0.01);
        using Generation generation = model.Begin(new()
        {
            PromptIds = [.. Enumerable.Range(0, 70).Select(static i => i * i % 23)],
            MaxNewTokens = 430,
            Drafter = drafter,
            Tree = tree switch
            {
                "off" => null,
                "auto" => TreeSettings.Auto,
                _ => new TreeSettings(8, 4, 24),
            },
            IgnoreEndTokens = true,
        });

        Assert.Equal(0, LeastOfTwoSteps(generation, 400));
    }

    public static TheoryData<TensorType, string> IntegerCases
    {
        get
        {
            TheoryData<TensorType, string> data = [];
            foreach (TensorType type in IntegerReference.Types)
            {
                foreach (string tree in (string[])["off", "fixed", "auto"])
                {
                    data.Add(type, tree);
                }
            }

            return data;
        }
    }

    /// <summary>Bytes that two steps in steady state allocate on all threads, the least of several tries.</summary>
    private static long LeastOfTwoSteps(Generation generation, int mostTokens)
    {
        generation.Prefill(CancellationToken.None);
        for (int i = 0; i < 60 && generation.NewTokens < mostTokens / 2; i++)
        {
            generation.Step();
        }

        long least = long.MaxValue;
        for (int attempt = 0; attempt < 20 && least != 0 && generation.NewTokens < mostTokens; attempt++)
        {
            long all = GC.GetTotalAllocatedBytes(precise: true);
            generation.Step();
            generation.Step();
            least = Math.Min(least, GC.GetTotalAllocatedBytes(precise: true) - all);
        }

        Assert.Null(generation.Finished);
        return least;
    }
}

/// <summary>Tests that count allocations run alone.</summary>
[CollectionDefinition(nameof(NoParallelAllocations), DisableParallelization = true)]
public sealed class NoParallelAllocations;

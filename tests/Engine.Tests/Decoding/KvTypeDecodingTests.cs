using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Sampling;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Decoding;

/// <summary>The promise of docs/lossless.md with each way of storing keys and values.</summary>
public sealed class KvTypeDecodingTests
{
    private static readonly TinyModels Tiny = TinyModels.Instance;

    public static TheoryData<KvType, string> Cases
    {
        get
        {
            TheoryData<KvType, string> cases = [];
            foreach (KvType type in (KvType[])[KvType.F16, KvType.BF16])
            {
                foreach (string name in TinyModels.Drafters)
                {
                    cases.Add(type, name);
                }
            }

            return cases;
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Speculative_text_equals_plain_text(KvType type, string name)
    {
        using LanguageModel model = Open(type);
        using Drafter drafter = Tiny.Open(name, model);
        foreach (float temperature in (float[])[0f, 0.8f])
        {
            GenerationRequest request = new() { Prompt = "The drafter writes", MaxNewTokens = 80, IgnoreEndTokens = true, Sampling = new SamplingOptions { Temperature = temperature, Seed = 5 } };
            IReadOnlyList<int> plain = model.Generate(request).OutputIds;
            foreach (TreeSettings tree in (TreeSettings[])[new(3, 1, 2), new(7, 8, 62)])
            {
                Assert.Equal(plain, model.Generate(request with { Drafter = drafter, Tree = tree }).OutputIds);
            }
        }
    }

    /// <summary>Stricter than equal tokens, and over the end of a block of keys: the bits of all keys and values, drafted, plain and rebuilt by prefill.</summary>
    [Theory]
    [InlineData(KvType.F32, "moa")]
    [InlineData(KvType.F16, "moa")]
    [InlineData(KvType.BF16, "moa")]
    [InlineData(KvType.F32, "lookup")]
    [InlineData(KvType.BF16, "moa:1")]
    public void Keys_and_values_are_the_bits_that_plain_decoding_leaves(KvType type, string name)
    {
        using LanguageModel model = Open(type);
        using Drafter drafter = Tiny.Open(name, model);
        int[] prompt = [.. Enumerable.Range(0, 480).Select(static i => i * i % 601)];
        GenerationRequest request = new() { PromptIds = prompt, MaxNewTokens = 80, IgnoreEndTokens = true };
        IReadOnlyList<int> text = model.Generate(request).OutputIds;
        const int rows = 540;
        float[] plain = Keys(model, request, rows), drafted = Keys(model, request with { Drafter = drafter, Tree = new(7, 8, 62) }, rows);
        float[] rebuilt = Keys(model, request with { PromptIds = [.. prompt, .. text.Take(70)], MaxNewTokens = 10 }, rows);
        Assert.Equal(plain.Select(BitConverter.SingleToInt32Bits), drafted.Select(BitConverter.SingleToInt32Bits));
        Assert.Equal(plain.Select(BitConverter.SingleToInt32Bits), rebuilt.Select(BitConverter.SingleToInt32Bits));
        Assert.All(plain, x => Assert.Equal(Rounded(x, type), x));
    }

    [Theory]
    [InlineData(KvType.F16)]
    [InlineData(KvType.BF16)]
    public void The_embedded_pair_writes_plain_text(KvType type)
    {
        EmbeddedPair pair = EmbeddedModels.Find();
        using LanguageModel model = LanguageModel.Open(pair.Target, new EngineOptions { Threads = 2, KvType = type, CacheFolder = "" });
        using Drafter drafter = model.OpenDrafter(pair.Drafter);
        Assert.Contains($"{type} keys and values", model.BackendName, StringComparison.Ordinal);
        GenerationRequest request = new() { Prompt = "And the king said unto", MaxNewTokens = 64, Tree = TreeSettings.Default };
        GenerationResult drafted = model.Generate(request with { Drafter = drafter });
        Assert.Equal(model.Generate(request).OutputIds, drafted.OutputIds);
        Assert.True(drafted.Statistics.TargetPasses < drafted.Statistics.NewTokens, "no drafted token was accepted");
    }

    [Fact]
    public void Types_that_do_not_exist_or_do_not_fit_the_device_are_refused()
    {
        InputException unknown = Assert.Throws<InputException>(() => LanguageModel.Open(Tiny.Path_("target"), new EngineOptions { KvType = (KvType)7 }));
        Assert.Contains("found 7, expected F32, F16 or BF16", unknown.Message, StringComparison.Ordinal);
        InputException gpu = Assert.Throws<InputException>(() => LanguageModel.Open(Tiny.Path_("target"), new EngineOptions { KvType = KvType.F16, Device = "emulated" }));
        Assert.Contains("found f16, expected bf16", gpu.Message, StringComparison.Ordinal);
    }

    private static LanguageModel Open(KvType type) => LanguageModel.Open(Tiny.Path_("target"), new EngineOptions { Threads = 2, KvType = type, CacheFolder = "" });

    private static float[] Keys(LanguageModel model, GenerationRequest request, int rows)
    {
        using Generation generation = model.Begin(request);
        generation.Prefill(CancellationToken.None);
        while (generation.Cache.Length < rows)
        {
            generation.Step();
        }

        int size = model.Config.KvSize, all = rows * generation.Cache.Layers;
        using TensorBuffer buffer = model.Backend.Allocate((long)all * size, "test");
        Matrix gathered = new(buffer, 0, all, size, size);
        model.Backend.GatherLayers(generation.Cache, new CacheRow(0), rows, gathered);
        float[] values = new float[all * size];
        model.Backend.Read(gathered, values);
        return values;
    }

    private static float Rounded(float value, KvType type) => type switch
    {
        KvType.F16 => (float)(Half)value,
        KvType.BF16 => BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(value) & 0xffff_0000),
        _ => value,
    };
}

using CsCheck;
using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Sampling;
using LowLevelSpec.Engine.Tests.Sampling;
using LowLevelSpec.Engine.Tiny;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Decoding;

/// <summary>The promise of docs/lossless.md: with any drafter and any tree, the same tokens as without.</summary>
public sealed class LosslessTests
{
    private static readonly TinyModels Tiny = TinyModels.Instance;

    private static readonly Gen<TreeSettings> Trees = Gen.Select(Gen.Int[2, 9], Gen.Int[1, 9], Gen.Int[1, 63], static (d, b, t) => new TreeSettings(d, b, t));

    private static readonly Gen<int[]> Prompts = Gen.Int[0, 639].Array[1, 200];

    private static readonly Gen<SamplingOptions> Samplings = Gen.Select(
        Generators.Pick(0f, 0f, 0.4f, 1f, 1.7f), Generators.Pick(0, 0, 1, 5, 50), Generators.Pick(1f, 1f, 0.9f, 0.5f), Generators.Pick(0f, 0f, 0.05f),
        Generators.Pick(1f, 1f, 1.3f), Generators.Pick(0f, 0f, 0.7f), Generators.Pick(0f, 0.4f), Gen.ULong,
        static (t, k, p, m, r, f, s, seed) => new SamplingOptions { Temperature = t, TopK = k, TopP = p, MinP = m, RepetitionPenalty = r, FrequencyPenalty = f, PresencePenalty = s, Seed = seed });

    public static TheoryData<string> DrafterNames => [.. TinyModels.Drafters];

    [Theory]
    [MemberData(nameof(DrafterNames))]
    public void Speculative_text_equals_plain_text(string name)
    {
        using Drafter drafter = Tiny.Open(name);
        Gen.Select(Prompts, Trees, Samplings).Sample(
            (prompt, tree, sampling) =>
            {
                GenerationRequest request = new() { PromptIds = prompt, MaxNewTokens = 40, Sampling = sampling, Tree = tree };
                IReadOnlyList<int> plain = Tiny.Model.Generate(request).OutputIds;
                GenerationResult speculative = Tiny.Model.Generate(request with { Drafter = drafter });
                Assert.Equal(plain, speculative.OutputIds);
                CheckCounts(speculative);
            },
            iter: 25,
            threads: 1);
    }

    /// <summary>Infinite weights, as a careless conversion to half precision leaves them, make every score of the drafter NaN.</summary>
    [Theory]
    [InlineData("moa", 0)]
    [InlineData("moa", 2)]
    [InlineData("eagle", 0)]
    public void A_drafter_whose_numbers_overflow_changes_nothing(string kind, int targetLayers)
    {
        string folder = Path.Combine(Tiny.Folder, $"overflow-{kind}-{targetLayers}");
        TinySizes sizes = new(Tiny.Model.Config.VocabularySize, 128, 4, 8, 4, 256, 1024);
        (kind == "moa" ? (Action<string, TinySizes, double, TinyRandom, TensorType>)TinyWriter.Moa : TinyWriter.Eagle)(folder, sizes, 1e40, new TinyRandom(5), TensorType.BF16);
        using Drafter drafter = Tiny.Model.OpenDrafter(folder, new DrafterOptions { TargetLayerInference = targetLayers });
        GenerationRequest request = new() { Prompt = "The drafter", MaxNewTokens = 60, IgnoreEndTokens = true, Lookup = LookupMode.Off };
        foreach (TreeSettings tree in new[] { TreeSettings.Default, TreeSettings.Auto })
        {
            GenerationResult speculative = Tiny.Model.Generate(request with { Drafter = drafter, Tree = tree });
            Assert.Equal(Tiny.Model.Generate(request).OutputIds, speculative.OutputIds);
            Assert.Equal(0, speculative.Statistics.DraftedNodes);
        }
    }

    /// <summary>Stricter than equal tokens: a wrong order of keys or a wrong row changes bits long before it changes a choice.</summary>
    [Theory]
    [MemberData(nameof(DrafterNames))]
    public void Keys_and_values_are_the_bits_that_plain_decoding_leaves(string name)
    {
        using Drafter drafter = Tiny.Open(name);
        GenerationRequest request = new() { Prompt = "The drafter", MaxNewTokens = 200, IgnoreEndTokens = true };
        float[] plain = Keys(request), speculative = Keys(request with { Drafter = drafter, Tree = new(7, 8, 62) });
        Assert.Equal(plain.Select(BitConverter.SingleToInt32Bits), speculative.Select(BitConverter.SingleToInt32Bits));

        static float[] Keys(GenerationRequest request)
        {
            using Generation generation = Tiny.Model.Begin(request);
            generation.Prefill(CancellationToken.None);
            while (generation.NewTokens <= 150)
            {
                generation.Step();
            }

            int size = Tiny.Model.Config.KvSize, rows = 150 * generation.Cache.Layers;
            using TensorBuffer buffer = Tiny.Model.Backend.Allocate((long)rows * size, "test");
            Matrix all = new(buffer, 0, rows, size, size);
            Tiny.Model.Backend.GatherLayers(generation.Cache, new CacheRow(0), 150, all);
            float[] values = new float[rows * size];
            Tiny.Model.Backend.Read(all, values);
            return values;
        }
    }

    /// <summary>Backends differ in which way they prefer; the text, the trees and the accepted runs do not.</summary>
    [Theory]
    [MemberData(nameof(DrafterNames))]
    public void Logits_of_visited_nodes_alone_choose_what_logits_of_the_whole_tree_choose(string name)
    {
        using Drafter drafter = Tiny.Open(name);
        Gen.Select(Prompts, Trees, Samplings).Sample(
            (prompt, tree, sampling) =>
            {
                GenerationRequest request = new() { PromptIds = prompt, MaxNewTokens = 40, Sampling = sampling, Tree = tree, Drafter = drafter, IgnoreEndTokens = true };
                using Generation onDemand = Tiny.Model.Begin(request, logitsOnDemand: true), atOnce = Tiny.Model.Begin(request, logitsOnDemand: false);
                onDemand.Prefill(CancellationToken.None);
                atOnce.Prefill(CancellationToken.None);
                while (onDemand.Finished is null)
                {
                    onDemand.Step();
                    atOnce.Step();
                    Assert.Equal(atOnce.Tokens.ToArray(), onDemand.Tokens.ToArray());
                    Assert.Equal(atOnce.Tree.Tokens.ToArray(), onDemand.Tree.Tokens.ToArray());
                    Assert.Equal(atOnce.AcceptedNodes.ToArray(), onDemand.AcceptedNodes.ToArray());
                    Assert.Equal(atOnce.Finished, onDemand.Finished);
                }
            },
            iter: 15,
            threads: 1);
    }

    [Theory]
    [MemberData(nameof(DrafterNames))]
    public void Good_drafters_are_accepted(string name)
    {
        using Drafter drafter = Tiny.Open(name);
        GenerationResult result = Tiny.Model.Generate(new() { Prompt = "The drafter", MaxNewTokens = 200, Drafter = drafter, Tree = TreeSettings.Default, IgnoreEndTokens = true });
        TestContext.Current.TestOutputHelper?.WriteLine($"{name}: tau {result.Statistics.Tau:F2}");
        double least = name switch { "none" => 1, "moa-random" => 1, _ => 1.5 };
        Assert.InRange(result.Statistics.Tau, least, 64);
        Assert.Equal(drafter.Kind == "none" ? 0 : 1, Math.Sign(result.Statistics.DraftedNodes));
    }

    [Fact]
    public void A_context_rebuilt_by_prefill_continues_bit_for_bit()
    {
        GenerationRequest request = new() { Prompt = "So a small model", MaxNewTokens = 300, IgnoreEndTokens = true };
        GenerationResult whole = Tiny.Model.Generate(request);
        int length = whole.PromptIds.Count;
        foreach (int cut in new[] { 1, 2, 63, 64, 127 - length, 128 - length, 129 - length, 127, 128, 129, 200, 256 - length, 257 - length })
        {
            int[] prefix = [.. whole.PromptIds, .. whole.OutputIds.Take(cut)];
            GenerationResult rest = Tiny.Model.Generate(request with { Prompt = null, PromptIds = prefix, MaxNewTokens = 300 - cut });
            Assert.Equal(whole.OutputIds.Skip(cut), rest.OutputIds);
        }
    }

    [Theory]
    [MemberData(nameof(DrafterNames))]
    public void Ends_inside_an_accepted_run_are_honoured(string name)
    {
        using Drafter drafter = Tiny.Open(name);
        GenerationRequest plainRequest = new() { Prompt = "The drafter", MaxNewTokens = 120, IgnoreEndTokens = true };
        GenerationResult free = Tiny.Model.Generate(plainRequest);
        for (int at = 1; at < 60; at += 7)
        {
            int stop = free.OutputIds[at];
            Same(plainRequest with { StopTokens = [stop] }, FinishReason.Stop);
            Same(plainRequest with { MaxNewTokens = at }, FinishReason.Length);
            string text = Tiny.Model.Tokenizer!.Decode([.. free.OutputIds.Skip(at).Take(3)], skipSpecial: true);
            if (text.Length > 2)
            {
                GenerationResult stopped = Same(plainRequest with { StopStrings = [text[1..^1]] }, FinishReason.Stop);
                Assert.DoesNotContain(text[1..^1], stopped.Text!);
                Assert.StartsWith(stopped.Text!, free.Text!);
            }
        }

        GenerationResult Same(GenerationRequest request, FinishReason reason)
        {
            GenerationResult plain = Tiny.Model.Generate(request), speculative = Tiny.Model.Generate(request with { Drafter = drafter, Tree = new(7, 8, 62) });
            Assert.Equal(plain.OutputIds, speculative.OutputIds);
            Assert.Equal(plain.Text, speculative.Text);
            Assert.Equal(reason, plain.FinishReason);
            Assert.Equal(reason, speculative.FinishReason);
            CheckCounts(speculative);
            return speculative;
        }
    }

    [Fact]
    public void Several_generations_at_once_write_what_they_write_alone()
    {
        using Drafter moa = Tiny.Open("moa"), eagle = Tiny.Open("eagle");
        GenerationRequest[] requests = [.. Enumerable.Range(0, 8).Select(i => new GenerationRequest
        {
            PromptIds = [.. Enumerable.Range(5 * i, 10 + (30 * i))],
            MaxNewTokens = 60,
            Drafter = i % 3 == 0 ? moa : i % 3 == 1 ? eagle : null,
            Sampling = new SamplingOptions { Temperature = i % 2, Seed = (ulong)i },
        })];
        IReadOnlyList<int>[] alone = [.. requests.Select(r => Tiny.Model.Generate(r).OutputIds)];
        IReadOnlyList<int>[] together = new IReadOnlyList<int>[requests.Length];
        Thread[] threads = [.. requests.Select((r, i) => new Thread(() => together[i] = Tiny.Model.Generate(r).OutputIds))];
        Array.ForEach(threads, static t => t.Start());
        Array.ForEach(threads, static t => t.Join());
        Assert.Equal(alone, together);
    }

    /// <summary>Tokens add up: the first from prefill, then per cycle the accepted ones and one of the target's own, which is missing where the text ends inside a run.</summary>
    private static void CheckCounts(GenerationResult result)
    {
        GenerationStatistics s = result.Statistics;
        Assert.Equal(result.OutputIds.Count, s.NewTokens);
        Assert.Equal(s.TargetPasses, s.Accepted.Count);
        Assert.Equal(s.TargetPasses == 0 ? 0 : (result.OutputIds.Count - 1) / (double)s.TargetPasses, s.Tau);
        int emitted = 1 + s.Accepted.Sum() + s.TargetPasses;
        Assert.InRange(emitted - s.NewTokens, 0, s.TargetPasses == 0 ? 0 : 1);
        Assert.Equal(s.Accepted.Sum(), s.AcceptedPerDepth.Sum());
        for (int d = 0; d < s.AcceptedPerDepth.Count; d++)
        {
            Assert.Equal(s.Accepted.Count(a => a > d), s.AcceptedPerDepth[d]);
        }
    }
}

using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Sampling;
using LowLevelSpec.Engine.Tests.Sampling;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Decoding;

/// <summary>
/// 10,000 sampled continuations of a ten-token target against the exact distribution, enumerated over all continuations from one-token
/// passes and a naive double-precision sampler. Each kind of decoding draws with seeds of its own, so the p-values are independent.
/// </summary>
public sealed class DistributionTests
{
    private const int Samples = 10_000, Length = 3;

    /// <summary>With fixed seeds the outcome is fixed; the bound says how unlikely a fair sampler's would be. Ten cases share it.</summary>
    private const double LeastP = 1e-3;

    private static readonly int[] Prompt = [3, 1, 4, 1, 5];

    private static readonly SamplingOptions Plain = new() { Temperature = 1 };

    private static readonly SamplingOptions Shaped = new()
    {
        Temperature = 0.9f,
        TopP = 0.85f,
        MinP = 0.02f,
        RepetitionPenalty = 1.15f,
        FrequencyPenalty = 0.3f,
        PresencePenalty = 0.2f,
    };

    public static TheoryData<string, bool> Cases
    {
        get
        {
            TheoryData<string, bool> data = [];
            foreach (string drafter in new[] { "none", "moa", "eagle", "lookup", "moa-random" })
            {
                data.Add(drafter, false);
                data.Add(drafter, true);
            }

            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Sampled_continuations_follow_the_targets_distribution(string drafterName, bool shaped)
    {
        TinyModels tiny = TinyModels.Instance;
        using LanguageModel model = LanguageModel.Open(Path.Combine(tiny.Folder, "enumerable", "target"), new EngineOptions { Threads = 1 });
        using Drafter drafter = tiny.Open(drafterName, model, "enumerable");
        SamplingOptions options = shaped ? Shaped : Plain;
        double[] exact = Enumerate(model, options);
        Assert.Equal(1, exact.Sum(), 1e-9);

        long[] counts = new long[exact.Length];
        ulong firstSeed = (ulong)((Array.IndexOf(["none", "moa", "eagle", "lookup", "moa-random"], drafterName) * 2) + (shaped ? 1 : 0)) * 1_000_000;
        long accepted = 0;
        for (int i = 0; i < Samples; i++)
        {
            GenerationResult result = model.Generate(new()
            {
                PromptIds = Prompt,
                MaxNewTokens = Length,
                Drafter = drafter,
                Tree = new TreeSettings(4, 3, 12),
                Sampling = options with { Seed = firstSeed + (ulong)i },
            });
            counts[Index(result.OutputIds)]++;
            accepted += result.Statistics.Accepted.Sum();
        }

        double p = ChiSquare.PValue(counts, exact);
        TestContext.Current.TestOutputHelper?.WriteLine($"{drafterName}{(shaped ? " with top-p, min-p and penalties" : "")}: p = {p:F4}, accepted draft tokens per text {accepted / (double)Samples:F2}");
        Assert.InRange(p, LeastP, 1);
        Assert.True(drafterName == "none" || accepted > 0, "the drafter was never accepted, so the test says nothing about acceptance");
    }

    /// <summary>Probability of each continuation of <see cref="Length"/> tokens, in base V, first token first.</summary>
    private static double[] Enumerate(LanguageModel model, SamplingOptions options)
    {
        int v = model.Config.VocabularySize;
        double[] exact = new double[(int)Math.Pow(v, Length)];
        Visit([], 1);
        return exact;

        void Visit(List<int> output, double probability)
        {
            if (output.Count == Length)
            {
                exact[Index(output)] = probability;
                return;
            }

            double[] next = NaiveSampler.Distribution(options, Logits(model, [.. Prompt, .. output]), Prompt, output);
            for (int token = 0; token < v; token++)
            {
                if (next[token] > 0)
                {
                    Visit([.. output, token], probability * next[token]);
                }
            }
        }
    }

    private static int Index(IReadOnlyList<int> tokens) => tokens.Aggregate(0, static (index, token) => (index * TinyModels.EnumerableSizes.Vocabulary) + token);

    /// <summary>The target's logits after <paramref name="tokens"/>, by one-token passes.</summary>
    private static float[] Logits(LanguageModel model, int[] tokens)
    {
        using Target.TargetPass pass = new(model.Backend, model.Target, 1, 1);
        using KvCache cache = model.Target.CreateCache(tokens.Length);
        PassBatch batch = new(1, 1);
        for (int i = 0; i < tokens.Length; i++)
        {
            batch.Clear();
            batch.AddCausal(cache, new TokenId(tokens[i]), new Position(i), new CacheRow(i));
            pass.Forward(batch);
            cache.Length = i + 1;
        }

        float[] logits = new float[model.Config.VocabularySize];
        model.Backend.Read(pass.Logits(0, 1), logits);
        return logits;
    }
}

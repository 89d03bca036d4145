using CsCheck;
using LowLevelSpec.Engine.Sampling;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Sampling;

public sealed class TokenSamplerTests
{
    /// <summary>Half of the vocabularies have logits on a coarse grid, where ties are the rule; a few tokens are impossible.</summary>
    private static readonly Gen<float[]> Logits = Gen.OneOf(
        Between(-6, 6).Array[1, 40],
        Gen.Int[-4, 4].Select(step => step * 0.5f).Array[1, 40],
        Gen.Frequency((5, Between(-3, 3)), (1, Gen.Const(float.NegativeInfinity))).Array[1, 40].Where(logits => logits.Max() > float.NegativeInfinity),
        Between(-20, 0).Array[300, 700]);

    private static readonly Gen<SamplingOptions> Options = Gen.Select(
        Generators.Pick(0f, 0.3f, 1, 1, 1.7f, 30),
        Generators.Pick(0, 0, 1, 2, 5, 20, 1000),
        Generators.Pick(1, 1, 0.5f, 0.9f, 0.01f, 0.999f),
        Generators.Pick(0, 0, 0.05f, 0.5f, 1),
        Generators.Pick(1, 1, 1.3f, 0.8f),
        Generators.Pick(0, 0, 0.5f, -0.7f),
        Generators.Pick(0, 0, 1.1f, -0.4f))
        .Select((temperature, topK, topP, minP, repetition, frequency, presence) => new SamplingOptions
        {
            Temperature = temperature,
            TopK = topK,
            TopP = topP,
            MinP = minP,
            RepetitionPenalty = repetition,
            FrequencyPenalty = frequency,
            PresencePenalty = presence,
        });

    /// <summary>Close to an end of an interval the two may differ by the roundings of their sums.</summary>
    private const double Slack = 1e-11;

    [Fact]
    public void Choose_OverAllUniforms_HasTheReferencesDistribution()
        => Gen.Select(Logits, Options, Gen.Int[0, 39].Array[0, 6], Gen.Int[0, 39].Array[0, 12]).Sample((logits, options, prompt, output) =>
        {
            prompt = [.. prompt.Where(id => id < logits.Length)];
            output = [.. output.Where(id => id < logits.Length)];
            TokenSampler sampler = Sampler(options, logits.Length, prompt, output);
            double[] expected = NaiveSampler.Distribution(options, logits, prompt, output);
            Assert.Equal(1, expected.Sum(), 1e-12);

            // The same token at both ends of each interval is the same distribution: the choice does not decrease with the uniform number.
            foreach ((int token, double from, double to) in NaiveSampler.Intervals(expected))
            {
                if (to - from > 2 * Slack)
                {
                    Assert.Equal(token, sampler.ChooseAt(logits, from == 0 ? 0 : from + Slack).Value);
                    Assert.Equal(token, sampler.ChooseAt(logits, to - Slack).Value);
                }
            }

            Assert.True(expected[sampler.ChooseAt(logits, Math.BitDecrement(1.0)).Value] > 0);
        }, iter: 2000);

    [Fact]
    public void Choose_IsTheReferencesInverseAtTheStreamsNumber()
        => Gen.Select(Logits, Options, Gen.ULong).Sample((logits, options, seed) =>
        {
            options = options with { Seed = seed };
            TokenSampler sampler = new(options, logits.Length, []);
            List<int> output = [];
            for (int i = 0; i < 5; i++)
            {
                double uniform = RandomStream.Uniform(seed, i);
                double[] expected = NaiveSampler.Distribution(options, logits, [], output);
                TokenId token = sampler.Choose(logits);
                if (NaiveSampler.Intervals(expected).All(interval => Math.Abs(interval.To - uniform) > Slack))
                {
                    Assert.Equal(NaiveSampler.Invert(expected, uniform), token.Value);
                }

                sampler.Commit(token);
                output.Add(token.Value);
                Assert.Equal(i + 1, sampler.Committed);
            }
        }, iter: 1000);

    /// <summary>The whole way from seeds to frequencies; the seeds are fixed, so a failure is a change.</summary>
    [Fact]
    public void Choose_OverManySeeds_HasTheReferencesFrequencies()
    {
        SamplingOptions options = new() { Temperature = 1.3f, TopK = 25, TopP = 0.97f, MinP = 0.01f, RepetitionPenalty = 1.2f };
        float[] logits = ToyModel.Logits(40, [1]);
        long[] counts = new long[40];
        for (ulong seed = 0; seed < 20_000; seed++)
        {
            counts[new TokenSampler(options with { Seed = seed }, 40, [2, 3]).Choose(logits).Value]++;
        }

        Assert.InRange(ChiSquare.PValue(counts, NaiveSampler.Distribution(options, logits, [2, 3], [])), 1e-4, 1);
    }

    [Fact]
    public void Choose_FromALargeVocabulary_HasTheReferencesDistribution()
    {
        const int size = 20_011;
        float[] logits = [.. Enumerable.Range(0, size).Select(id => (float)(RandomStream.Uniform(3, id) * 25) - (id % 7))];
        SamplingOptions[] all =
        [
            new SamplingOptions { Temperature = 1 },
            new SamplingOptions { Temperature = 100, TopK = 9000, TopP = 0.9f },
            new SamplingOptions { Temperature = 0.7f, TopP = 0.95f, MinP = 0.001f },
            new SamplingOptions { Temperature = 5, TopK = 50 },
        ];
        foreach (SamplingOptions options in all)
        {
            TokenSampler sampler = new(options, size, []);
            double[] expected = NaiveSampler.Distribution(options, logits, [], []);
            (int Token, double From, double To)[] intervals = [.. NaiveSampler.Intervals(expected)];
            foreach ((int token, double from, double to) in intervals.Where((_, i) => i % Math.Max(1, intervals.Length / 200) == 0 || i == intervals.Length - 1))
            {
                if (to - from > 2 * Slack)
                {
                    Assert.Equal(token, sampler.ChooseAt(logits, from + Slack).Value);
                    Assert.Equal(token, sampler.ChooseAt(logits, to - Slack).Value);
                }
            }
        }
    }

    /// <summary>Token i of 256 equal ones owns [i / 256, (i + 1) / 256), exact in double; the sums cross several blocks.</summary>
    [Fact]
    public void Choose_AtTheEndsOfIntervals_IsHalfOpen()
    {
        TokenSampler sampler = new(new SamplingOptions { Temperature = 1 }, 256, []);
        float[] logits = new float[256];
        for (int i = 0; i < 256; i++)
        {
            Assert.Equal(i, sampler.ChooseAt(logits, i / 256.0).Value);
            Assert.Equal(i, sampler.ChooseAt(logits, Math.BitDecrement((i + 1) / 256.0)).Value);
        }
    }

    [Fact]
    public void Choose_AtBothEndsOfTheUniform_NeverGivesAnImpossibleToken()
    {
        float[] logits = [.. Enumerable.Repeat(float.NegativeInfinity, 300)];
        logits[130] = logits[140] = 0;
        TokenSampler sampler = new(new SamplingOptions { Temperature = 1 }, 300, []);
        Assert.Equal(130, sampler.ChooseAt(logits, 0).Value);
        Assert.Equal(140, sampler.ChooseAt(logits, Math.BitDecrement(1.0)).Value);
    }

    [Fact]
    public void TopP_KeepsTheSmallestSetThatReachesIt_TiesToTheLowerId()
    {
        // Probabilities 1/4 each: two tokens reach 0.5 exactly, a little more takes a third.
        float[] logits = [2, 2, 2, 2];
        Assert.Equal([0, 1], Kept(new SamplingOptions { Temperature = 1, TopP = 0.5f }, logits));
        Assert.Equal([0, 1, 2], Kept(new SamplingOptions { Temperature = 1, TopP = 0.500001f }, logits));
        Assert.Equal([0], Kept(new SamplingOptions { Temperature = 1, TopP = float.Epsilon }, logits));
    }

    [Fact]
    public void TopP_CountsWhatTopKKeeps()
    {
        // Among all four the first has 1/4, among the first two 1/2.
        float[] logits = [2, 2, 2, 2];
        Assert.Equal([0], Kept(new SamplingOptions { Temperature = 1, TopK = 2, TopP = 0.5f }, logits));
    }

    [Fact]
    public void TopK_TiesGoToTheLowerId() => Assert.Equal([1, 2], Kept(new SamplingOptions { Temperature = 1, TopK = 2 }, [0, 3, 1, 1, 1]));

    [Fact]
    public void MinP_IsRelativeToTheMostProbable_AfterTemperature()
    {
        // Relative probabilities at temperature 1: 1, e^-1 = 0.37, e^-2 = 0.14; at temperature 2 their roots 1, 0.61, 0.37.
        float[] logits = [5, 4, 3];
        Assert.Equal([0, 1], Kept(new SamplingOptions { Temperature = 1, MinP = 0.3f }, logits));
        Assert.Equal([0, 1, 2], Kept(new SamplingOptions { Temperature = 2, MinP = 0.3f }, logits));
        Assert.Equal([0], Kept(new SamplingOptions { Temperature = 2, MinP = 1 }, logits));
    }

    [Fact]
    public void RepetitionPenalty_CountsPromptAndOutputOnce()
    {
        SamplingOptions options = new() { RepetitionPenalty = 2 };
        Assert.Equal(1, Sampler(options, 3, [0], []).Choose([4, 2.1f, 0]).Value);
        Assert.Equal(1, Sampler(options, 3, [], [0]).Choose([4, 2.1f, 0]).Value);
        Assert.Equal(0, Sampler(options, 3, [0, 0], [0]).Choose([4, 1.9f, 0]).Value);

        // A negative logit is multiplied: -1 becomes -2.
        Assert.Equal(1, Sampler(options, 2, [0], []).Choose([-1, -1.9f]).Value);
    }

    [Fact]
    public void FrequencyAndPresencePenalty_CountTheOutputAlone()
    {
        SamplingOptions frequency = new() { FrequencyPenalty = 1 };
        Assert.Equal(0, Sampler(frequency, 2, [0, 0, 0], []).Choose([1, 0]).Value);
        Assert.Equal(0, Sampler(frequency, 2, [], [0]).Choose([1, 0]).Value);
        Assert.Equal(1, Sampler(frequency, 2, [], [0, 0]).Choose([1, 0]).Value);

        SamplingOptions presence = new() { PresencePenalty = 1 };
        Assert.Equal(0, Sampler(presence, 2, [0, 0, 0], []).Choose([1.5f, 0]).Value);
        Assert.Equal(0, Sampler(presence, 2, [], [0, 0]).Choose([1.5f, 0]).Value);
        Assert.Equal(1, Sampler(presence, 2, [], [0, 0]).Choose([0.5f, 0]).Value);
    }

    [Fact]
    public void Greedy_TakesTheLowestIdOfTheLargestLogit()
    {
        TokenSampler sampler = new(new SamplingOptions { TopK = 3, TopP = 0.1f, MinP = 0.9f }, 20, []);
        float[] logits = [.. Enumerable.Repeat(-5f, 20)];
        logits[18] = logits[11] = logits[13] = 2;
        Assert.Equal(11, sampler.Choose(logits).Value);
        logits[3] = 2;
        Assert.Equal(3, sampler.Choose(logits).Value);

        // Zeros of either sign are equal.
        logits.AsSpan().Fill(-1);
        logits[4] = -0f;
        logits[17] = 0;
        Assert.Equal(4, sampler.Choose(logits).Value);
    }

    [Fact]
    public void IsPlainArgMax_OnlyWhenGreedyWithoutPenalties()
    {
        Assert.True(Is(new SamplingOptions { TopK = 5, TopP = 0.5f, MinP = 0.1f, Seed = 3 }));
        Assert.False(Is(new SamplingOptions { Temperature = float.Epsilon }));
        Assert.False(Is(new SamplingOptions { RepetitionPenalty = 1.1f }));
        Assert.False(Is(new SamplingOptions { FrequencyPenalty = 0.1f }));
        Assert.False(Is(new SamplingOptions { PresencePenalty = -0.1f }));

        static bool Is(SamplingOptions options) => new TokenSampler(options, 5, []).IsPlainArgMax;
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void Choose_OfUnusableLogits_Throws(float temperature)
    {
        // Long enough that the bad one lies in a vector in one case and behind the last whole vector in the other.
        foreach (int place in (int[])[2, 20, 40])
        {
            foreach (float bad in (float[])[float.NaN, float.PositiveInfinity])
            {
                float[] logits = new float[41];
                logits[place] = bad;
                TokenSampler sampler = new(new SamplingOptions { Temperature = temperature }, logits.Length, []);
                ArithmeticException exception = Assert.Throws<ArithmeticException>(() => sampler.Choose(logits));
                Assert.Contains($"token {place} ", exception.Message, StringComparison.Ordinal);
            }
        }

        float[] none = [.. Enumerable.Repeat(float.NegativeInfinity, 41)];
        Assert.Throws<ArithmeticException>(() => new TokenSampler(new SamplingOptions { Temperature = temperature }, 41, []).Choose(none));
        none[30] = -1e30f;
        Assert.Equal(30, new TokenSampler(new SamplingOptions { Temperature = temperature }, 41, []).Choose(none).Value);
    }

    [Fact]
    public void ExtremeLogitsAndOptions_StayFinite()
    {
        SamplingOptions options = new() { Temperature = float.Epsilon, RepetitionPenalty = float.Epsilon, FrequencyPenalty = -100, TopP = 0.9f, TopK = 3 };
        TokenSampler sampler = Sampler(options, 4, [0, 1], [1]);
        Assert.Equal(1, sampler.Choose([float.MaxValue / 2, float.MaxValue, float.MinValue, 0]).Value);
    }

    [Fact]
    public void OutsideTheVocabulary_Throws()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => new TokenSampler(new SamplingOptions(), 4, [1, 4]));
        Assert.Throws<ArgumentOutOfRangeException>(() => new TokenSampler(new SamplingOptions(), 4, [-1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => new TokenSampler(new SamplingOptions(), 0, []));
        TokenSampler sampler = new(new SamplingOptions(), 4, []);
        Assert.Throws<ArgumentOutOfRangeException>(() => sampler.Commit(new TokenId(4)));
        Assert.Throws<ArgumentException>(() => sampler.Choose(new float[3]));
        Assert.Equal(0, sampler.Committed);
    }

    [Fact]
    public void Choose_ChangesNoState()
    {
        SamplingOptions options = new() { Temperature = 1.2f, TopP = 0.95f, RepetitionPenalty = 1.2f, PresencePenalty = 0.3f, Seed = 11 };
        TokenSampler asked = new(options, 200, [1, 2, 3]);
        TokenSampler plain = new(options, 200, [1, 2, 3]);
        for (int i = 0; i < 50; i++)
        {
            float[] logits = ToyModel.Logits(200, [i]);
            for (int j = 0; j < 4; j++)
            {
                asked.Choose(ToyModel.Logits(200, [i, j]));
            }

            TokenId token = plain.Choose(logits);
            Assert.Equal(token, asked.Choose(logits));
            Assert.Equal(token, asked.Choose(logits));
            asked.Commit(token);
            plain.Commit(token);
        }
    }

    [Fact]
    public void Seeds_DecideTheText()
    {
        int[] first = Text(1);
        Assert.Equal(first, Text(1));
        Assert.NotEqual(first, Text(2));
        Assert.NotEqual(first, Text(1ul << 40));

        static int[] Text(ulong seed)
        {
            TokenSampler sampler = new(new SamplingOptions { Temperature = 1, Seed = seed }, 100, []);
            float[] logits = ToyModel.Logits(100, []);
            int[] text = new int[30];
            foreach (ref int token in text.AsSpan())
            {
                TokenId chosen = sampler.Choose(logits);
                sampler.Commit(chosen);
                token = chosen.Value;
            }

            return text;
        }
    }

    /// <summary>Pinned: texts written with a seed stay what they were.</summary>
    [Fact]
    public void SeededText_IsPinned()
    {
        SamplingOptions options = new() { Temperature = 0.8f, TopK = 50, TopP = 0.95f, MinP = 0.01f, RepetitionPenalty = 1.1f, Seed = 42 };
        TokenSampler sampler = new(options, 1000, [7, 8, 9]);
        List<int> text = [];
        for (int i = 0; i < 10; i++)
        {
            TokenId token = sampler.Choose(ToyModel.Logits(1000, text));
            sampler.Commit(token);
            text.Add(token.Value);
        }

        Assert.Equal([582, 369, 715, 726, 837, 162, 601, 458, 135, 320], text);
    }

    [Theory]
    [InlineData(0, 1)]
    [InlineData(1, 1)]
    [InlineData(0, 1.2f)]
    [InlineData(1, 1.2f)]
    public void ChooseAndCommit_AllocateNothing(float temperature, float repetition)
    {
        const int size = 5000;
        SamplingOptions options = new() { Temperature = temperature, TopK = 1000, TopP = 0.9f, MinP = 0.01f, RepetitionPenalty = repetition };
        TokenSampler sampler = new(options, size, [1, 2]);
        float[] logits = ToyModel.Logits(size, []);
        Write(sampler, logits, 50);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Write(sampler, logits, 50);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        static void Write(TokenSampler sampler, float[] logits, int tokens)
        {
            for (int i = 0; i < tokens; i++)
            {
                sampler.Commit(sampler.Choose(logits));
            }
        }
    }

    /// <summary>Steps of 1/256: logits that are not equal are far enough apart to have different probabilities in double.</summary>
    private static Gen<float> Between(int low, int high) => Gen.Int[low * 256, high * 256].Select(step => step / 256f);

    private static TokenSampler Sampler(SamplingOptions options, int size, ReadOnlySpan<int> prompt, ReadOnlySpan<int> output)
    {
        TokenSampler sampler = new(options, size, prompt);
        foreach (int id in output)
        {
            sampler.Commit(new TokenId(id));
        }

        return sampler;
    }

    /// <summary>The tokens that some uniform number gives.</summary>
    private static int[] Kept(SamplingOptions options, float[] logits)
    {
        TokenSampler sampler = new(options, logits.Length, []);
        return [.. Enumerable.Range(0, 1000).Select(i => sampler.ChooseAt(logits, i / 1000.0).Value).Distinct().Order()];
    }
}

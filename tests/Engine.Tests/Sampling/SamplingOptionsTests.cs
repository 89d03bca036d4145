using LowLevelSpec.Engine.Sampling;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Sampling;

public sealed class SamplingOptionsTests
{
    public static TheoryData<SamplingOptions, string> Unusable
    {
        get
        {
            TheoryData<SamplingOptions, string> data = [];
            foreach (float value in (float[])[-0.1f, 100.5f, float.NaN, float.PositiveInfinity, float.NegativeInfinity])
            {
                data.Add(new SamplingOptions { Temperature = value }, "temperature");
            }

            foreach (int value in (int[])[-1, int.MinValue])
            {
                data.Add(new SamplingOptions { TopK = value }, "top-k");
            }

            foreach (float value in (float[])[0, -0.5f, 1.001f, float.NaN, float.PositiveInfinity])
            {
                data.Add(new SamplingOptions { TopP = value }, "top-p");
            }

            foreach (float value in (float[])[-0.001f, 1.001f, float.NaN, float.PositiveInfinity])
            {
                data.Add(new SamplingOptions { MinP = value }, "min-p");
            }

            foreach (float value in (float[])[0, -1, float.NaN, float.PositiveInfinity])
            {
                data.Add(new SamplingOptions { RepetitionPenalty = value }, "repetition penalty");
            }

            foreach (float value in (float[])[-100.5f, 100.5f, float.NaN, float.PositiveInfinity, float.NegativeInfinity])
            {
                data.Add(new SamplingOptions { FrequencyPenalty = value }, "frequency penalty");
                data.Add(new SamplingOptions { PresencePenalty = value }, "presence penalty");
            }

            return data;
        }
    }

    public static TheoryData<SamplingOptions> Usable =>
    [
        new SamplingOptions(),
        new SamplingOptions { Temperature = 100, TopK = int.MaxValue, TopP = float.Epsilon, MinP = 1, RepetitionPenalty = float.Epsilon },
        new SamplingOptions { Temperature = float.Epsilon, RepetitionPenalty = float.MaxValue, FrequencyPenalty = -100, PresencePenalty = 100, Seed = ulong.MaxValue },
    ];

    [Theory]
    [MemberData(nameof(Unusable), DisableDiscoveryEnumeration = true)]
    public void Validate_RefusesWhatIsOutOfRange_NamingOptionFoundAndExpected(SamplingOptions options, string name)
    {
        InputException exception = Assert.Throws<InputException>(options.Validate);
        Assert.StartsWith($"Sampling option {name} is ", exception.Message, StringComparison.Ordinal);
        Assert.Contains("it must be ", exception.Message, StringComparison.Ordinal);
        Assert.Equal(exception.Message, Assert.Throws<InputException>(() => new TokenSampler(options, 10, [])).Message);
    }

    [Fact]
    public void Validate_TellsWhatItFound()
        => Assert.Equal(
            "Sampling option top-p is 1.5; it must be a number above 0 and at most 1 (all tokens).",
            Assert.Throws<InputException>(new SamplingOptions { TopP = 1.5f }.Validate).Message);

    [Theory]
    [MemberData(nameof(Usable), DisableDiscoveryEnumeration = true)]
    public void Validate_AcceptsTheEndsOfTheRanges(SamplingOptions options)
    {
        options.Validate();
        float[] logits = [1, 3, 2];
        TokenSampler sampler = new(options, 3, [1]);
        for (int i = 0; i < 5; i++)
        {
            TokenId token = sampler.Choose(logits);
            Assert.InRange(token.Value, 0, 2);
            sampler.Commit(token);
        }
    }
}

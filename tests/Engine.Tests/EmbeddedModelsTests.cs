using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Sampling;
using Xunit;

namespace LowLevelSpec.Engine.Tests;

/// <summary>The pair that stands in where no model is named.</summary>
public sealed class EmbeddedModelsTests
{
    /// <summary>Words that begin verses of chapters nothing was trained on.</summary>
    private static readonly string[] Prompts = ["Let us lift up", "He that soweth iniquity shall reap", "But now", "And the king said unto"];

    [Theory]
    [InlineData(1f, 0f)]
    [InlineData(1.15f, 0f)]
    [InlineData(1f, 0.7f)]
    public void The_shipped_drafter_keeps_the_text_and_is_accepted_long(float repetitionPenalty, float temperature)
    {
        EmbeddedPair pair = EmbeddedModels.Find();
        Assert.False(pair.IsGenerated);
        Assert.Same(pair, EmbeddedModels.Find());
        using LanguageModel model = LanguageModel.Open(pair.Target, new EngineOptions { Threads = 2 });
        using Drafter drafter = model.OpenDrafter(pair.Drafter);
        int committed = 0, passes = 0;
        foreach (string prompt in Prompts)
        {
            GenerationRequest request = new() { Prompt = prompt, MaxNewTokens = 64, Tree = TreeSettings.Default, Sampling = new SamplingOptions { RepetitionPenalty = repetitionPenalty, Temperature = temperature, Seed = 3 } };
            GenerationResult plain = model.Generate(request), drafted = model.Generate(request with { Drafter = drafter });
            Assert.Equal(plain.OutputIds, drafted.OutputIds);
            committed += drafted.Statistics.NewTokens - 1;
            passes += drafted.Statistics.TargetPasses;
        }

        // Sampled tokens are harder to guess; the promise is for greedy text.
        double tau = committed / (double)passes;
        Assert.True(tau > (temperature > 0 ? 1.5 : 2.5), $"tau {tau}");
    }

    [Fact]
    public void A_trained_pair_above_the_program_is_taken_and_half_a_pair_is_not()
    {
        string root = Directory.CreateTempSubdirectory("llspec-embedded-").FullName;
        try
        {
            string deep = Directory.CreateDirectory(Path.Combine(root, "a", "b")).FullName;
            string target = Directory.CreateDirectory(Path.Combine(root, "models", EmbeddedModels.TargetName)).FullName;
            string drafter = Directory.CreateDirectory(Path.Combine(root, "models", EmbeddedModels.DrafterName)).FullName;
            File.WriteAllText(Path.Combine(target, "config.json"), "{}");
            Assert.Null(EmbeddedModels.FindFrom(deep));
            File.WriteAllText(Path.Combine(drafter, "config.json"), "{}");
            Assert.Equal(new EmbeddedPair(target, drafter, IsGenerated: false), EmbeddedModels.FindFrom(deep));
        }
        finally
        {
            Directory.Delete(root, recursive: true);
        }
    }
}

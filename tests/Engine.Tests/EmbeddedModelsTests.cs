using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using Xunit;

namespace LowLevelSpec.Engine.Tests;

/// <summary>The pair that stands in where no model is named.</summary>
public sealed class EmbeddedModelsTests
{
    [Fact]
    public void It_is_found_once_and_its_drafter_keeps_the_text()
    {
        EmbeddedPair pair = EmbeddedModels.Find();
        Assert.Same(pair, EmbeddedModels.Find());
        using LanguageModel model = LanguageModel.Open(pair.Target, new EngineOptions { Threads = 2 });
        using Drafter drafter = model.OpenDrafter(pair.Drafter);
        GenerationRequest request = new() { Prompt = "And the word", MaxNewTokens = 32 };
        GenerationResult plain = model.Generate(request), drafted = model.Generate(request with { Drafter = drafter });
        Assert.Equal(plain.OutputIds, drafted.OutputIds);
        Assert.True(pair.IsGenerated || drafted.Statistics.Tau > 2);
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

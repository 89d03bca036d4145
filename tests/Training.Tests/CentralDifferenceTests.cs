using LowLevelSpec.Models;
using LowLevelSpec.Training.Compute;
using LowLevelSpec.Training.Data;
using LowLevelSpec.Training.Drafters;
using LowLevelSpec.Training.Losses;
using LowLevelSpec.Training.Targets;
using Xunit;

namespace LowLevelSpec.Training.Tests;

/// <summary>Every gradient element of every tensor of every drafter, see <see cref="CentralDifferences"/>.</summary>
public sealed class CentralDifferenceTests(ITestOutputHelper output)
{
    private static readonly PracticeChoices Varied = new([4, 6], [true, false]);

    [Theory]
    [InlineData(0, true, false)]
    [InlineData(0, false, false)]
    [InlineData(0, false, true)]
    [InlineData(1, true, false)]
    [InlineData(1, false, true)]
    [InlineData(3, false, true)]
    public void Moa(int targetLayers, bool varied, bool biases)
    {
        FrozenTarget<double> target = SmallCase.Target<double>(biases);
        Check(target, SmallCase.Moa(target, targetLayers), varied ? Varied : PracticeChoices.Plain, LossWeights.Paper(targetLayers));
    }

    [Fact]
    public void Moa_without_layer_self_attention()
    {
        FrozenTarget<double> target = SmallCase.Target<double>(biases: false);
        Check(target, SmallCase.Moa(target, 0, lsa: false), Varied, LossWeights.Kl(0));
    }

    [Fact]
    public void Moa_whose_layer_self_attention_is_drawn_to_the_final_states()
    {
        FrozenTarget<double> target = SmallCase.Target<double>(biases: false);
        Check(target, SmallCase.Moa(target, 1), Varied, LossWeights.Kl(1) with { Alignment = 0.7 });
    }

    [Fact]
    public void Moa_under_a_temperature()
    {
        FrozenTarget<double> target = SmallCase.Target<double>(biases: false);
        LossWeights sharper = LossWeights.Kl(0) with { Temperature = 0.5 };
        Check(target, SmallCase.Moa(target, 0), Varied, sharper);

        LossTerms Terms(LossWeights weights) => TrainingStep.Loss(new Arena<double>(), target, SmallCase.Moa(target, 0), SmallCase.Batch(), Varied, weights);
        LossTerms plain = Terms(LossWeights.Kl(0)), half = Terms(sharper), tenth = Terms(sharper with { Temperature = 0.1 });
        Assert.Equal(plain.Hits, half.Hits);
        Assert.True(plain.Entropy > half.Entropy && half.Entropy > tenth.Entropy, $"entropies {plain.Entropy}, {half.Entropy}, {tenth.Entropy}");
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Eagle(bool biases)
    {
        FrozenTarget<double> target = SmallCase.Target<double>(biases);
        Check(target, SmallCase.Eagle(target), PracticeChoices.Plain, LossWeights.Paper(0));
    }

    [Fact]
    public void Cross_entropy_over_a_part_of_the_rows()
    {
        FrozenTarget<double> target = SmallCase.Target<double>(biases: false);
        Check(target, SmallCase.Eagle(target), PracticeChoices.Plain, LossWeights.Kl(0), [.. Enumerable.Range(0, SmallCase.Batch().Rows).Select(static i => i % 3 == 0)]);
    }

    [Fact]
    public void Cross_entropy_over_a_sample_of_the_vocabulary()
    {
        FrozenTarget<double> target = SmallCase.Target<double>(biases: false);
        VocabularySample sample = new VocabularySampler([.. Enumerable.Range(0, SmallCase.Vocabulary).Reverse()], 5, 7, seed: 3).Draw(11);
        Assert.Equal(Math.Log(14 / 7.0), sample.LogWeight);
        Check(target, SmallCase.Eagle(target), PracticeChoices.Plain, LossWeights.Kl(0), sample: sample);
        LlamaConfig config = target.Config with { HiddenSize = 8, Heads = 2, KvHeads = 1, HeadSize = 4, Layers = 1, TiedEmbeddings = true };
        Check(target, SmallCase.Randomised(IndependentModel<double>.Create(config), 9), PracticeChoices.Plain, new LossWeights(1, 0, 0), sample: sample);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Independent(bool tied)
    {
        FrozenTarget<double> target = SmallCase.Target<double>(biases: false);
        LlamaConfig config = target.Config with { HiddenSize = 8, Heads = 2, KvHeads = 1, HeadSize = 4, Layers = 2, TiedEmbeddings = tied };
        Check(target, SmallCase.Randomised(IndependentModel<double>.Create(config), 9), PracticeChoices.Plain, new LossWeights(1, 0, 0));
    }

    private void Check(FrozenTarget<double> target, DrafterModel<double> drafter, PracticeChoices choices, LossWeights weights, bool[]? klRows = null, VocabularySample? sample = null)
    {
        Arena<double> arena = new();
        TrainingBatch batch = SmallCase.Batch();
        drafter.ClearGradients();
        LossTerms terms = TrainingStep.Backward(arena, target, drafter, batch, choices, weights, klRows: klRows, sample: sample);
        Assert.True(double.IsFinite(terms.Total));
        output.WriteLine(CentralDifferences.Check(drafter.Parameters, () => TrainingStep.Loss(arena, target, drafter, batch, choices, weights, klRows, sample).Total));
    }
}

using LowLevelSpec.Training.Compute;
using LowLevelSpec.Training.Data;
using LowLevelSpec.Training.Drafters;
using LowLevelSpec.Training.Losses;
using LowLevelSpec.Training.Targets;
using Xunit;

namespace LowLevelSpec.Training.Tests;

/// <summary>A sample of the vocabulary stands for all of it.</summary>
public sealed class VocabularySampleTests
{
    private static readonly int[] Ranked = [.. Enumerable.Range(0, SmallCase.Vocabulary).Reverse()];

    [Fact]
    public void A_sample_of_all_tokens_gives_the_whole_cross_entropy()
    {
        LossTerms whole = Terms(null), all = Terms(new VocabularySampler(Ranked, 5, SmallCase.Vocabulary, 1).Draw(0));
        Assert.Equal(whole.ForwardKl, all.ForwardKl, 1e-12);
        Assert.Equal(whole.Entropy, all.Entropy, 1e-12);
        Assert.Equal(whole.Hits, all.Hits);
    }

    [Fact]
    public void Drawn_tokens_count_as_often_as_there_are_others()
    {
        FrozenTarget<double> target = SmallCase.Target<double>(biases: false);
        DrafterModel<double> drafter = SmallCase.Moa(target, 0);
        TrainingBatch batch = SmallCase.Batch();
        Arena<double> arena = new();
        VocabularySample sample = new VocabularySampler(Ranked, 5, 7, 1).Draw(0);
        TargetStates<double> states = target.States(arena, batch, 0);
        Prediction<double> prediction = drafter.Forward(arena, batch, states, PracticeChoices.Plain);
        int row = Array.FindLastIndex(batch.Response, static r => r);
        bool[] rows = [.. Enumerable.Range(0, batch.Rows).Select(i => i == row)];

        // Each of the seven drawn tokens stands for 14 / 7 = 2.
        double[] weights = [.. Enumerable.Range(0, 12).Select(static i => i < 5 ? 1.0 : 2)];
        double[] q = Logits(states.Final.Row(row)), p = Logits(prediction.Hidden.Row(row));
        double logQ = Math.Log(q.Zip(weights).Sum(static t => t.Second * Math.Exp(t.First))), logP = Math.Log(p.Zip(weights).Sum(static t => t.Second * Math.Exp(t.First)));
        double wanted = Enumerable.Range(0, 12).Sum(i => weights[i] * Math.Exp(q[i] - logQ) * (logP - p[i]));
        LossTerms terms = TrainingStep.Loss(arena, target, drafter, batch, PracticeChoices.Plain, LossWeights.Kl(0), rows, sample);
        Assert.Equal(1, terms.Positions);

        // Means are over their number + 1e-5.
        Assert.Equal(wanted, terms.ForwardKl * 1.00001, 1e-9 * wanted);

        double[] Logits(Span<double> hidden)
        {
            double[] logits = new double[sample.Tokens.Length];
            for (int i = 0; i < logits.Length; i++)
            {
                Span<double> weight = target.Head.Value.Row(sample.Tokens[i]);
                for (int d = 0; d < hidden.Length; d++)
                {
                    logits[i] += hidden[d] * weight[d];
                }
            }

            return logits;
        }
    }

    [Fact]
    public void A_sample_has_the_frequent_tokens_first_and_others_once()
    {
        VocabularySampler sampler = new(Ranked, 5, 7, 1);
        VocabularySample first = sampler.Draw(0);
        Assert.Equal(Ranked[..5], first.Tokens[..5]);
        Assert.Equal(12, first.Tokens.Distinct().Count());
        Assert.NotEqual(first.Tokens, sampler.Draw(1).Tokens);
        Assert.Equal(first.Tokens, new VocabularySampler(Ranked, 5, 7, 1).Draw(0).Tokens);
    }

    [Fact]
    public void Tokens_rank_by_how_often_the_target_wrote_them()
    {
        TrainingSequence[] texts = [new([4, 4, 4, 1, 2], [false, false, false, true, true]), new([2, 3], [true, true])];
        Assert.Equal([2, 1, 3, 0, 4], TokenRanking.Of(texts, 5));
    }

    private static LossTerms Terms(VocabularySample? sample)
    {
        FrozenTarget<double> target = SmallCase.Target<double>(biases: false);
        return TrainingStep.Loss(new Arena<double>(), target, SmallCase.Moa(target, 0), SmallCase.Batch(), PracticeChoices.Plain, LossWeights.Kl(0), sample: sample);
    }
}

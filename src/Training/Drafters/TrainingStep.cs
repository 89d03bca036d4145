using System.Numerics;
using LowLevelSpec.Training.Compute;
using LowLevelSpec.Training.Data;
using LowLevelSpec.Training.Losses;
using LowLevelSpec.Training.Targets;

namespace LowLevelSpec.Training.Drafters;

/// <summary>Target states, prediction, loss and gradients of one micro-batch.</summary>
internal static class TrainingStep
{
    /// <summary>Adds the gradients of <paramref name="scale"/> times the loss to the drafter's weights; the cross entropy over <paramref name="klRows"/> of the batch's rows and a sample of the vocabulary, or over all. States come from <paramref name="source"/> instead of the target itself where given.</summary>
    public static LossTerms Backward<T>(Arena<T> arena, FrozenTarget<T> target, DrafterModel<T> drafter, TrainingBatch batch, PracticeChoices choices, LossWeights weights, double scale = 1, bool[]? klRows = null, VocabularySample? sample = null, IStateSource<T>? source = null)
        where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        ArenaMark mark = arena.Mark();
        TargetStates<T> states = (source ?? target).States(arena, batch, drafter.TargetLayers);
        Prediction<T> prediction = drafter.Forward(arena, batch, states, choices);
        (LossTerms terms, Tensor<T>? dHidden, Tensor<T>? dMiddle) = DrafterLoss.Compute(arena, target, batch, states, prediction, weights, scale, klRows: klRows, sample: sample);
        drafter.Backward(arena, prediction, dHidden!, dMiddle);
        arena.Release(mark);
        return terms;
    }

    /// <summary>The loss alone.</summary>
    public static LossTerms Loss<T>(Arena<T> arena, FrozenTarget<T> target, DrafterModel<T> drafter, TrainingBatch batch, PracticeChoices choices, LossWeights weights, bool[]? klRows = null, VocabularySample? sample = null)
        where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        ArenaMark mark = arena.Mark();
        TargetStates<T> states = target.States(arena, batch, drafter.TargetLayers);
        LossTerms terms = DrafterLoss.Compute(arena, target, batch, states, drafter.Forward(arena, batch, states, choices), weights, gradients: false, klRows: klRows, sample: sample).Terms;
        arena.Release(mark);
        return terms;
    }
}

using System.Numerics;
using System.Text.Json.Nodes;
using LowLevelSpec.Training.Compute;
using LowLevelSpec.Training.Data;
using LowLevelSpec.Training.Targets;

namespace LowLevelSpec.Training.Drafters;

/// <summary>What a drafter says about a batch: m rows. Subclasses add what their backward pass needs.</summary>
/// <param name="Hidden">Predicted final hidden states, ready for the LM head [m, E].</param>
/// <param name="Rows">The batch row whose target state each prediction row stands for [m].</param>
/// <param name="Middle">Predicted input of the target's layer L-N [m, E]; null without target layer inference.</param>
/// <param name="Horizon">How many positions each row lies behind its last verified one [m]; 1 for EAGLE, which always sees the state before.</param>
/// <param name="Head">The LM head that reads <paramref name="Hidden"/> [V, E].</param>
internal abstract record Prediction<T>(Tensor<T> Hidden, int[] Rows, Tensor<T>? Middle, int[] Horizon, Parameter<T> Head) where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    /// <summary>What the drafter attends to of each of the batch's n rows [n, E]; null where there is no such state.</summary>
    public virtual Tensor<T>? Attended => null;

    /// <summary>Gradient of the loss's own term of <see cref="Attended"/> [n, E], or null: set with the loss, for the backward pass.</summary>
    public Tensor<T>? AttendedGradient { get; set; }
}

/// <summary>A trainable drafter around a frozen target.</summary>
internal abstract class DrafterModel<T> where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    /// <summary>Trainable weights under the authors' names, in a fixed order.</summary>
    public abstract IReadOnlyList<Parameter<T>> Parameters { get; }

    /// <summary>Those of <see cref="Parameters"/> that an ablation keeps at zero.</summary>
    public virtual IReadOnlyList<Parameter<T>> HeldAtZero => [];

    /// <summary>N of target layer inference: which of the target's states <see cref="Forward"/> needs.</summary>
    public virtual int TargetLayers => 0;

    /// <summary>Predicts the target's states of a batch under the given practice.</summary>
    public abstract Prediction<T> Forward(Arena<T> arena, TrainingBatch batch, TargetStates<T> states, PracticeChoices choices);

    /// <summary>Adds the weights' gradients.</summary>
    /// <param name="arena">For temporary memory.</param>
    /// <param name="prediction">Of <see cref="Forward"/>.</param>
    /// <param name="dHidden">[m, E]</param>
    /// <param name="dMiddle">[m, E], where the prediction has one.</param>
    public abstract void Backward(Arena<T> arena, Prediction<T> prediction, Tensor<T> dHidden, Tensor<T>? dMiddle);

    /// <summary>Starts the layer that reads token embeddings, as the target's first does, from that one; nothing where there is none.</summary>
    public virtual void StartFromTarget()
    {
    }

    /// <summary>The checkpoint's config.json.</summary>
    public abstract JsonObject Config();

    /// <summary>Sets all gradients to zero.</summary>
    public void ClearGradients()
    {
        foreach (Parameter<T> parameter in Parameters)
        {
            parameter.Gradient!.Clear();
        }
    }
}

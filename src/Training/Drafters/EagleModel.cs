using System.Numerics;
using System.Text.Json.Nodes;
using LowLevelSpec.Models;
using LowLevelSpec.Training.Compute;
using LowLevelSpec.Training.Data;
using LowLevelSpec.Training.Layers;
using LowLevelSpec.Training.Targets;

namespace LowLevelSpec.Training.Drafters;

/// <summary>EAGLE-2: one decoder layer over fc([embedding of token t+1 ; target's final hidden at t]), which predicts the hidden state at t+1.</summary>
internal sealed class EagleModel<T> : DrafterModel<T> where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    private readonly FrozenTarget<T> _target;
    private readonly DecoderLayer<T> _layer;
    private readonly Parameter<T> _fc;
    private readonly Parameter<T>? _fcBias;

    private EagleModel(FrozenTarget<T> target, DecoderLayer<T> layer, Parameter<T> fc, Parameter<T>? fcBias)
    {
        (_target, _layer, _fc, _fcBias) = (target, layer, fc, fcBias);
        Parameters = fcBias is null ? [.. layer.Parameters, fc] : [.. layer.Parameters, fc, fcBias];
    }

    /// <inheritdoc/>
    public override IReadOnlyList<Parameter<T>> Parameters { get; }

    /// <summary>Takes over a checkpoint; the file may be closed afterwards.</summary>
    public static EagleModel<T> Load(FrozenTarget<T> target, EagleTensors tensors)
    {
        Rope<T> rope = new(tensors.LayerConfig.HeadSize, tensors.RopeTheta, target.Config.RopeScaling);
        DecoderLayer<T> layer = new(tensors.LayerConfig, LayerParameters<T>.Load(tensors.Layer, trainable: true), tensors.RmsNormEpsilon, rope);
        return new EagleModel<T>(target, layer, Parameter<T>.Load(tensors.Fc, trainable: true), tensors.FcBias is null ? null : Parameter<T>.Load(tensors.FcBias, trainable: true));
    }

    /// <summary>A new drafter with zeroed weights.</summary>
    public static EagleModel<T> Create(FrozenTarget<T> target, int kvHeads, int width)
    {
        LlamaConfig config = target.Config;
        DrafterLayerConfig shape = new(config.HiddenSize, config.Heads, kvHeads, config.HeadSize, width);
        DecoderLayer<T> layer = new(shape, LayerParameters<T>.Create("spec_model", shape, config.AttentionBias), config.RmsNormEpsilon, new Rope<T>(config.HeadSize, config.RopeTheta, config.RopeScaling));
        return new EagleModel<T>(target, layer, new Parameter<T>("spec_model_fc.weight", [config.HiddenSize, 2L * config.HiddenSize], trainable: true), null);
    }

    /// <summary>The target's config under the authors' architecture name; the drafter's sizes follow from its tensors.</summary>
    public override JsonObject Config() => DrafterFolder.LlamaConfigJson(_target.Config, "EAGLE");

    /// <inheritdoc/>
    public override Prediction<T> Forward(Arena<T> arena, TrainingBatch batch, TargetStates<T> states, PracticeChoices choices)
    {
        int e = _target.Config.HiddenSize, m = batch.Rows - batch.Sequences.Count;
        int[] rows = new int[m], tokens = new int[m];
        Tensor<T> input = arena.Allocate(m, 2 * e), x = arena.Allocate(m, e);
        int next = 0;
        for (int s = 0; s < batch.Sequences.Count; s++)
        {
            int first = batch.FirstRow[s], length = batch.Sequences[s].Tokens.Count;
            for (int t = 1; t < length; t++, next++)
            {
                rows[next] = first + t;
                tokens[next] = batch.Tokens[first + t];
                states.Final.Row(first + t - 1).CopyTo(input.Row(next)[e..]);
            }
        }

        Embedding.Forward(_target.Embedding, tokens, input);
        Linear.Forward(input, _fc, _fcBias, x);
        LayerState<T> layer = _layer.Forward(arena, x, AttentionPlan.Causal(batch.Lengths.Select(static length => length - 1)));
        int[] horizon = new int[m];
        Array.Fill(horizon, 1);
        return new EaglePrediction<T>(layer.Output, rows, horizon, _target.Head, input, layer);
    }

    /// <inheritdoc/>
    public override void Backward(Arena<T> arena, Prediction<T> prediction, Tensor<T> dHidden, Tensor<T>? dMiddle)
    {
        EaglePrediction<T> state = (EaglePrediction<T>)prediction;
        (Tensor<T>? dx, _) = _layer.Backward(arena, state.Layer, dHidden);
        Linear.Backward(state.Input, _fc, _fcBias, dx!, null);
    }
}

/// <summary>Activations of an EAGLE forward pass; m = tokens less one per sequence.</summary>
/// <param name="Hidden">[m, E]</param>
/// <param name="Rows">Batch rows 1.. of each sequence.</param>
/// <param name="Horizon">1 everywhere.</param>
/// <param name="Head">The target's.</param>
/// <param name="Input">[embedding ; feature] [m, 2E].</param>
/// <param name="Layer">The decoder layer.</param>
internal sealed record EaglePrediction<T>(Tensor<T> Hidden, int[] Rows, int[] Horizon, Parameter<T> Head, Tensor<T> Input, LayerState<T> Layer)
    : Prediction<T>(Hidden, Rows, null, Horizon, Head) where T : unmanaged, IBinaryFloatingPointIeee754<T>;

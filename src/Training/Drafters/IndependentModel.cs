using System.Numerics;
using System.Text.Json.Nodes;
using LowLevelSpec.Models;
using LowLevelSpec.Training.Compute;
using LowLevelSpec.Training.Data;
using LowLevelSpec.Training.Layers;
using LowLevelSpec.Training.Targets;

namespace LowLevelSpec.Training.Drafters;

/// <summary>A small Llama of its own over the target's vocabulary, trained on the target's distribution alone (its hidden states need not have the target's size).</summary>
internal sealed class IndependentModel<T> : DrafterModel<T> where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    private readonly DecoderLayer<T>[] _layers;
    private readonly Parameter<T> _embedding, _norm, _head;
    private readonly T _epsilon;
    private readonly LlamaConfig _config;

    private IndependentModel(LlamaConfig config, DecoderLayer<T>[] layers, Parameter<T> embedding, Parameter<T> norm, Parameter<T> head)
    {
        _config = config;
        (_layers, _embedding, _norm, _head) = (layers, embedding, norm, head);
        _epsilon = T.CreateTruncating(config.RmsNormEpsilon);
        Parameters = [embedding, .. layers.SelectMany(static l => l.Parameters), norm, .. ReferenceEquals(embedding, head) ? [] : new[] { head }];
    }

    /// <inheritdoc/>
    public override IReadOnlyList<Parameter<T>> Parameters { get; }

    /// <summary>A new model with zeroed weights under Hugging Face's names.</summary>
    public static IndependentModel<T> Create(LlamaConfig config)
    {
        DrafterLayerConfig shape = new(config.HiddenSize, config.Heads, config.KvHeads, config.HeadSize, config.IntermediateSize);
        Rope<T> rope = new(config.HeadSize, config.RopeTheta, config.RopeScaling);
        DecoderLayer<T>[] layers = [.. Enumerable.Range(0, config.Layers).Select(l =>
            new DecoderLayer<T>(shape, LayerParameters<T>.Create($"model.layers.{l}", shape, config.AttentionBias), config.RmsNormEpsilon, rope))];
        Parameter<T> embedding = new("model.embed_tokens.weight", [config.VocabularySize, config.HiddenSize], trainable: true);
        Parameter<T> head = config.TiedEmbeddings ? embedding : new Parameter<T>("lm_head.weight", [config.VocabularySize, config.HiddenSize], trainable: true);
        return new IndependentModel<T>(config, layers, embedding, new Parameter<T>("model.norm.weight", [config.HiddenSize], trainable: true), head);
    }

    /// <inheritdoc/>
    public override JsonObject Config() => DrafterFolder.LlamaConfigJson(_config, _config.AttentionBias ? "Qwen2ForCausalLM" : "LlamaForCausalLM");

    /// <inheritdoc/>
    public override Prediction<T> Forward(Arena<T> arena, TrainingBatch batch, TargetStates<T> states, PracticeChoices choices) => Forward(arena, batch);

    /// <summary>Runs the model over a batch, each sequence causally from position 0; it needs nothing of a target.</summary>
    public IndependentPrediction<T> Forward(Arena<T> arena, TrainingBatch batch)
    {
        int n = batch.Rows, e = _config.HiddenSize;
        AttentionPlan plan = AttentionPlan.Causal(batch.Lengths);
        Tensor<T> x = arena.Allocate(n, e), hidden = arena.Allocate(n, e), scale = arena.Allocate(n, 1);
        Embedding.Forward(_embedding, batch.Tokens, x);
        LayerState<T>[] layers = new LayerState<T>[_layers.Length];
        for (int l = 0; l < layers.Length; l++)
        {
            layers[l] = _layers[l].Forward(arena, l == 0 ? x : layers[l - 1].Output, plan);
        }

        RmsNorm.Forward(layers[^1].Output, _norm, _epsilon, hidden, scale);
        return new IndependentPrediction<T>(hidden, [.. Enumerable.Range(0, n)], new int[n], _head, layers, scale, batch.Tokens);
    }

    /// <inheritdoc/>
    public override void Backward(Arena<T> arena, Prediction<T> prediction, Tensor<T> dHidden, Tensor<T>? dMiddle)
    {
        IndependentPrediction<T> state = (IndependentPrediction<T>)prediction;
        Tensor<T> d = arena.Zeros(dHidden.Rows, dHidden.Columns);
        RmsNorm.Backward(state.Layers[^1].Output, _norm, state.Scale, dHidden, d);
        for (int l = _layers.Length - 1; l >= 0; l--)
        {
            d = _layers[l].Backward(arena, state.Layers[l], d).X!;
        }

        Embedding.Backward(_embedding, state.Tokens, d);
    }
}

/// <summary>Activations of an independent model's forward pass.</summary>
/// <param name="Hidden">Normed [n, its hidden size].</param>
/// <param name="Rows">0..n-1</param>
/// <param name="Horizon">0 everywhere: it sees nothing of the target.</param>
/// <param name="Head">Its own.</param>
/// <param name="Layers">One per layer.</param>
/// <param name="Scale">1 / root mean square before the final norm [n, 1].</param>
/// <param name="Tokens">What was embedded [n].</param>
internal sealed record IndependentPrediction<T>(Tensor<T> Hidden, int[] Rows, int[] Horizon, Parameter<T> Head, IReadOnlyList<LayerState<T>> Layers, Tensor<T> Scale, int[] Tokens)
    : Prediction<T>(Hidden, Rows, null, Horizon, Head) where T : unmanaged, IBinaryFloatingPointIeee754<T>;

using System.Numerics;
using LowLevelSpec.Models;
using LowLevelSpec.Training.Compute;
using LowLevelSpec.Training.Data;
using LowLevelSpec.Training.Layers;

namespace LowLevelSpec.Training.Targets;

/// <summary>What the target thinks about a batch: constants to the drafter. n rows, L layers, E hidden, Ekv = 2*K*D.</summary>
/// <param name="Final">Normed final hidden states [n, E].</param>
/// <param name="Layers">Per token and layer, for every kv head in order [K_head (after RoPE) ; V_head]: [n*L, Ekv], token-major (LSA's input).</param>
/// <param name="Middle">Hidden states at the input of layer L-N [n, E]; null for N = 0.</param>
internal sealed record TargetStates<T>(Tensor<T> Final, Tensor<T> Layers, Tensor<T>? Middle) where T : unmanaged, IBinaryFloatingPointIeee754<T>;

/// <summary>Where a training step takes the target's states from: the target itself, or a cache of them.</summary>
internal interface IStateSource<T> where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    /// <summary>The states of a batch.</summary>
    /// <param name="arena">Where they go.</param>
    /// <param name="batch">The texts.</param>
    /// <param name="lastLayers">N: with the input of layer L-N.</param>
    TargetStates<T> States(Arena<T> arena, TrainingBatch batch, int lastLayers);
}

/// <summary>The target model: weights in full precision, frozen. Gradients pass through its last layers for target layer inference.</summary>
internal sealed class FrozenTarget<T> : IStateSource<T> where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    private readonly DecoderLayer<T>[] _layers;
    private readonly Parameter<T> _finalNorm;
    private readonly T _epsilon;

    /// <summary>Reads all weights into memory; the file may be closed afterwards.</summary>
    public FrozenTarget(LlamaTensors tensors)
    {
        Config = tensors.Config;
        DrafterLayerConfig shape = new(Config.HiddenSize, Config.Heads, Config.KvHeads, Config.HeadSize, Config.IntermediateSize);
        Rope<T> rope = new(Config.HeadSize, Config.RopeTheta, Config.RopeScaling);
        _layers = [.. tensors.Layers.Select(layer => new DecoderLayer<T>(shape, LayerParameters<T>.Load(layer, trainable: false), Config.RmsNormEpsilon, rope))];
        _finalNorm = Parameter<T>.Load(tensors.FinalNorm, trainable: false);
        _epsilon = T.CreateTruncating(Config.RmsNormEpsilon);
        Embedding = Parameter<T>.Load(tensors.Embedding, trainable: false);
        Head = ReferenceEquals(tensors.LmHead, tensors.Embedding) ? Embedding : Parameter<T>.Load(tensors.LmHead, trainable: false);
    }

    /// <summary>Sizes.</summary>
    public LlamaConfig Config { get; }

    /// <summary>Embedding table [V, E].</summary>
    public Parameter<T> Embedding { get; }

    /// <summary>LM head [V, E].</summary>
    public Parameter<T> Head { get; }

    /// <summary>Weights of layer <paramref name="layer"/>.</summary>
    public LayerParameters<T> Weights(int layer) => _layers[layer].Weights;

    /// <summary>Runs the target over a batch, each sequence causally from position 0.</summary>
    /// <param name="arena">Where the states go; intermediate activations are given back.</param>
    /// <param name="batch">The texts.</param>
    /// <param name="lastLayers">N: keep the input of layer L-N.</param>
    public TargetStates<T> States(Arena<T> arena, TrainingBatch batch, int lastLayers)
    {
        (Tensor<T> final, Tensor<T> layers, Tensor<T>[] inputs) = States(arena, batch, lastLayers > 0 ? [lastLayers] : []);
        return new TargetStates<T>(final, layers, inputs.SingleOrDefault());
    }

    /// <summary>The same, keeping the inputs of layers L-N [n, E] for each N of <paramref name="lastLayers"/>.</summary>
    public (Tensor<T> Final, Tensor<T> Layers, Tensor<T>[] Inputs) States(Arena<T> arena, TrainingBatch batch, IReadOnlyList<int> lastLayers)
    {
        int n = batch.Rows, e = Config.HiddenSize, count = Config.Layers;
        Tensor<T> final = arena.Allocate(n, e), layers = arena.Allocate(n * count, Config.KvSize);
        Tensor<T>[] inputs = [.. lastLayers.Select(_ => arena.Allocate(n, e))];
        ArenaMark mark = arena.Mark();
        AttentionPlan plan = AttentionPlan.Causal(batch.Lengths);
        Tensor<T> x = arena.Allocate(n, e), scale = arena.Allocate(n, 1);
        Layers.Embedding.Forward(Embedding, batch.Tokens, x);
        for (int l = 0; l < count; l++)
        {
            for (int i = 0; i < inputs.Length; i++)
            {
                if (l == count - lastLayers[i])
                {
                    x.Span.CopyTo(inputs[i].Span);
                }
            }

            ArenaMark layerMark = arena.Mark();
            LayerState<T> state = _layers[l].Forward(arena, x, plan);
            Gather(state, l, layers);
            state.Output.Span.CopyTo(x.Span);
            arena.Release(layerMark);
        }

        RmsNorm.Forward(x, _finalNorm, _epsilon, final, scale);
        arena.Release(mark);
        return (final, layers, inputs);
    }

    /// <summary>Runs the last <paramref name="count"/> layers and the final norm on x [n, E], keeping what <see cref="BackwardLast"/> needs.</summary>
    public LastLayersState<T> ForwardLast(Arena<T> arena, int count, Tensor<T> x, AttentionPlan plan)
    {
        LayerState<T>[] states = new LayerState<T>[count];
        for (int i = 0; i < count; i++)
        {
            states[i] = _layers[Config.Layers - count + i].Forward(arena, i == 0 ? x : states[i - 1].Output, plan);
        }

        Tensor<T> final = arena.Allocate(x.Rows, x.Columns), scale = arena.Allocate(x.Rows, 1);
        RmsNorm.Forward(states[^1].Output, _finalNorm, _epsilon, final, scale);
        return new LastLayersState<T>(states, scale, final);
    }

    /// <summary>Gradient of x from that of the final normed hidden states [n, E]; the weights have none.</summary>
    public Tensor<T> BackwardLast(Arena<T> arena, LastLayersState<T> state, Tensor<T> dFinal)
    {
        Tensor<T> d = arena.Zeros(dFinal.Rows, dFinal.Columns);
        RmsNorm.Backward(state.Layers[^1].Output, _finalNorm, state.Scale, dFinal, d);
        for (int i = state.Layers.Count - 1; i >= 0; i--)
        {
            d = _layers[Config.Layers - state.Layers.Count + i].Backward(arena, state.Layers[i], d).X!;
        }

        return d;
    }

    /// <summary>[K_head ; V_head] of each kv head of layer <paramref name="layer"/> into row token*L + layer.</summary>
    private void Gather(LayerState<T> state, int layer, Tensor<T> layers)
    {
        int d = Config.HeadSize, heads = Config.KvHeads, count = Config.Layers;
        for (int token = 0; token < state.Key.Rows; token++)
        {
            Span<T> k = state.Key.Row(token), v = state.Value.Row(token), to = layers.Row((token * count) + layer);
            for (int h = 0; h < heads; h++)
            {
                k.Slice(h * d, d).CopyTo(to[(2 * h * d)..]);
                v.Slice(h * d, d).CopyTo(to[((2 * h * d) + d)..]);
            }
        }
    }
}

/// <summary>Activations of the target's last layers over a drafter's output.</summary>
/// <param name="Layers">One per layer.</param>
/// <param name="Scale">1 / root mean square before the final norm [n, 1].</param>
/// <param name="Final">Normed final hidden states [n, E].</param>
internal sealed record LastLayersState<T>(IReadOnlyList<LayerState<T>> Layers, Tensor<T> Scale, Tensor<T> Final) where T : unmanaged, IBinaryFloatingPointIeee754<T>;

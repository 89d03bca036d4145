using System.Numerics;
using System.Text.Json.Nodes;
using LowLevelSpec.Models;
using LowLevelSpec.Training.Compute;
using LowLevelSpec.Training.Data;
using LowLevelSpec.Training.Layers;
using LowLevelSpec.Training.Optimisation;
using LowLevelSpec.Training.Targets;

namespace LowLevelSpec.Training.Drafters;

/// <summary>Sizes of a new Mixture-of-Attentions drafter; heads, hidden size and theta are the target's.</summary>
/// <param name="LsaKvHeads">kv heads of LSA; 0 for none (ablation: the mean of the target's layers goes to Ekv2E).</param>
/// <param name="LsaWidth">MLP width of LSA.</param>
/// <param name="SaKvHeads">kv heads of SA.</param>
/// <param name="SaWidth">MLP width of SA.</param>
/// <param name="CaKvHeads">kv heads of CA.</param>
/// <param name="CaWidth">MLP width of CA.</param>
public sealed record MoaSizes(int LsaKvHeads, int LsaWidth, int SaKvHeads, int SaWidth, int CaKvHeads, int CaWidth);

/// <summary>Mixture of Attentions (paper section 3): LSA over the target's layers, Ekv2E, SA over the tokens, CA from SA to the verified states, optionally the target's last N layers.</summary>
internal sealed class MoaModel<T> : DrafterModel<T> where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    /// <summary>Tokens that LSA mixes at once: 64 tokens x 30 layers x Ekv 384 are 3 MB per activation, which one operation leaves in the cache for the next.</summary>
    private const int LsaTokens = 64;

    private readonly FrozenTarget<T> _target;
    private readonly DecoderLayer<T>? _lsa;
    private readonly DecoderLayer<T> _sa, _ca;
    private readonly Parameter<T> _ekv2E, _ekv2EBias;

    private MoaModel(FrozenTarget<T> target, int targetLayers, DecoderLayer<T>? lsa, DecoderLayer<T> sa, DecoderLayer<T> ca, Parameter<T> ekv2E, Parameter<T> ekv2EBias)
    {
        if (targetLayers < 0 || targetLayers > target.Config.Layers)
        {
            throw new InputException($"target layer inference: found {targetLayers}, expected 0 to {target.Config.Layers} (the target's layers)");
        }

        (_target, TargetLayers, _lsa, _sa, _ca, _ekv2E, _ekv2EBias) = (target, targetLayers, lsa, sa, ca, ekv2E, ekv2EBias);
        Parameters = [.. lsa?.Parameters ?? [], .. sa.Parameters, .. ca.Parameters, ekv2E, ekv2EBias];
    }

    /// <inheritdoc/>
    public override IReadOnlyList<Parameter<T>> Parameters { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<Parameter<T>> HeldAtZero => CrossAttention ? [] : [_ca.Parameters.Single(static p => p.Name.EndsWith("self_attn.v_proj.weight", StringComparison.Ordinal))];

    /// <summary>False keeps CA's values at zero (ablation): the checkpoint stays one that every reader of the format runs.</summary>
    public bool CrossAttention { get; init; } = true;

    /// <inheritdoc/>
    public override int TargetLayers { get; }

    /// <summary>Takes over a checkpoint; the file may be closed afterwards.</summary>
    public static MoaModel<T> Load(FrozenTarget<T> target, MoaTensors tensors, int targetLayers)
    {
        DecoderLayer<T>? lsa = tensors.LayerSelfAttention is null ? null : Layer(tensors.LayerSelfAttention, tensors.LayerSelfAttentionConfig!, null);
        return new MoaModel<T>(
            target,
            targetLayers,
            lsa,
            Layer(tensors.SelfAttention, tensors.SelfAttentionConfig, target.Config.RopeScaling),
            Layer(tensors.CrossAttention, tensors.CrossAttentionConfig, null),
            Parameter<T>.Load(tensors.Ekv2E, trainable: true),
            Parameter<T>.Load(tensors.Ekv2EBias, trainable: true));

        DecoderLayer<T> Layer(LayerTensors layer, DrafterLayerConfig shape, RopeScaling? scaling) =>
            Build(shape, LayerParameters<T>.Load(layer, trainable: true), tensors.RmsNormEpsilon, tensors.RopeTheta, scaling);
    }

    /// <summary>A new drafter with zeroed weights. As in the reference, SA has the target's biases, LSA has Qwen2's, CA none (golden README, point 5).</summary>
    public static MoaModel<T> Create(FrozenTarget<T> target, MoaSizes sizes, int targetLayers, bool crossAttention = true)
    {
        LlamaConfig config = target.Config;
        int headSize = config.HiddenSize / config.Heads;
        DrafterLayerConfig lsaShape = new(config.KvSize, config.Heads, sizes.LsaKvHeads, config.KvSize / config.Heads, sizes.LsaWidth);
        DecoderLayer<T>? lsa = sizes.LsaKvHeads == 0 ? null : Layer("layer_self_attention", lsaShape, config.ModelType == "qwen2", null);
        return new MoaModel<T>(
            target,
            targetLayers,
            lsa,
            Layer("self_attention", new(config.HiddenSize, config.Heads, sizes.SaKvHeads, headSize, sizes.SaWidth), config.AttentionBias, config.RopeScaling),
            Layer("cross_attention", new(config.HiddenSize, config.Heads, sizes.CaKvHeads, headSize, sizes.CaWidth), false, null),
            new Parameter<T>("Ekv2E.weight", [config.HiddenSize, config.KvSize], trainable: true),
            new Parameter<T>("Ekv2E.bias", [config.HiddenSize], trainable: true))
        {
            CrossAttention = crossAttention,
        };

        DecoderLayer<T> Layer(string name, DrafterLayerConfig shape, bool biases, RopeScaling? scaling) =>
            Build(shape, LayerParameters<T>.Create(name, shape, biases), config.RmsNormEpsilon, config.RopeTheta, scaling);
    }

    /// <inheritdoc/>
    public override void StartFromTarget() => Initialisation.Copy(_target.Weights(0), _sa.Weights);

    /// <summary>The keys of the authors' published config.</summary>
    public override JsonObject Config()
    {
        LlamaConfig config = _target.Config;
        JsonObject json = new()
        {
            ["architectures"] = new JsonArray("MOASpecModel"),
            ["model_type"] = "moa_spec",
            ["hidden_size"] = config.HiddenSize,
            ["kv_hidden_size"] = config.KvSize,
            ["num_attention_heads"] = config.Heads,
            ["rms_norm_eps"] = config.RmsNormEpsilon,
            ["rope_theta"] = config.RopeTheta,
            ["vocab_size"] = config.VocabularySize,
            ["disable_LSA"] = _lsa is null,
            ["target_layer_inference"] = TargetLayers,
        };
        foreach ((string name, DrafterLayerConfig? shape) in ((string, DrafterLayerConfig?)[])[("layer_self", _lsa?.Shape), ("self", _sa.Shape), ("cross", _ca.Shape)])
        {
            if (shape is not null)
            {
                json[$"{name}_attention_num_key_value_heads"] = shape.KvHeads;
                json[$"{name}_attention_intermediate_size"] = shape.IntermediateSize;
            }
        }

        return json;
    }

    /// <inheritdoc/>
    public override Prediction<T> Forward(Arena<T> arena, TrainingBatch batch, TargetStates<T> states, PracticeChoices choices)
    {
        int n = batch.Rows, e = _target.Config.HiddenSize, layers = _target.Config.Layers;
        int[] starts = VerificationPoints.Starts(batch, choices);
        Tensor<T> mean = arena.Allocate(n, _target.Config.KvSize), mixed = arena.Allocate(n, e), embedded = arena.Allocate(n, e);
        List<LayerState<T>> lsa = [];
        for (int first = 0; first < n; first += LsaTokens)
        {
            int count = Math.Min(LsaTokens, n - first);
            Tensor<T> input = states.Layers.Slice(first * layers, count * layers), output = mean.Slice(first, count);
            if (_lsa is null)
            {
                GroupMean.Forward(input, layers, output);
                continue;
            }

            lsa.Add(_lsa.Forward(arena, input, AttentionPlan.Full(count, layers), group: layers));
            lsa[^1].Output.Span.CopyTo(output.Span);
        }

        Linear.Forward(mean, _ekv2E, _ekv2EBias, mixed);
        Embedding.Forward(_target.Embedding, batch.Tokens, embedded);
        LayerState<T> sa = _sa.Forward(arena, embedded, VerificationPoints.SelfAttention(batch, choices, starts));
        LayerState<T> ca = _ca.Forward(arena, sa.Output, VerificationPoints.CrossAttention(batch, starts), mixed);

        int[] rows = [.. Enumerable.Range(0, n)], horizon = [.. ca.Plan.Positions.Select((position, i) => position - starts[i])];
        if (TargetLayers == 0)
        {
            return new MoaPrediction<T>(ca.Output, rows, null, horizon, _target.Head, lsa, mean, mixed, sa, ca, null);
        }

        // Verified positions enter the target's last layers with the target's own state (golden README, point 16).
        Tensor<T> middle = arena.Allocate(n, e);
        for (int i = 0; i < n; i++)
        {
            (horizon[i] == 0 ? states.Middle! : ca.Output).Row(i).CopyTo(middle.Row(i));
        }

        LastLayersState<T> last = _target.ForwardLast(arena, TargetLayers, middle, AttentionPlan.Causal(batch.Lengths));
        return new MoaPrediction<T>(last.Final, rows, middle, horizon, _target.Head, lsa, mean, mixed, sa, ca, last);
    }

    /// <inheritdoc/>
    public override unsafe void Backward(Arena<T> arena, Prediction<T> prediction, Tensor<T> dHidden, Tensor<T>? dMiddle)
    {
        MoaPrediction<T> state = (MoaPrediction<T>)prediction;
        Tensor<T> d = dHidden;
        if (state.Last is not null)
        {
            d = _target.BackwardLast(arena, state.Last, dHidden);
            AddDrafted(state, dMiddle!, d);
        }

        (Tensor<T>? dSa, Tensor<T>? dMixed) = _ca.Backward(arena, state.Ca, d);
        _ = _sa.Backward(arena, state.Sa, dSa!, needInput: false);
        if (state.AttendedGradient is { } attended)
        {
            Simd.AddScaled(attended.Data, T.One, dMixed!.Data, dMixed.Length);
        }

        Tensor<T>? dMean = _lsa is null ? null : arena.Allocate(state.Mean.Rows, state.Mean.Columns);
        Linear.Backward(state.Mean, _ekv2E, _ekv2EBias, dMixed!, dMean);
        for (int i = 0; i < state.Lsa.Count; i++)
        {
            _ = _lsa!.Backward(arena, state.Lsa[i], dMean!.Slice(i * LsaTokens, state.Lsa[i].Output.Rows), needInput: false);
        }
    }

    /// <summary>Adds the middle states' own loss, then cuts verified rows off: their state was the target's, not CA's.</summary>
    private static unsafe void AddDrafted(MoaPrediction<T> state, Tensor<T> dMiddle, Tensor<T> d)
    {
        Simd.AddScaled(dMiddle.Data, T.One, d.Data, d.Length);
        for (int i = 0; i < d.Rows; i++)
        {
            if (state.Horizon[i] == 0)
            {
                d.Row(i).Clear();
            }
        }
    }

    // The reference builds SA with the target's RoPE scaling and CA and LSA without (golden README, point 5).
    private static DecoderLayer<T> Build(DrafterLayerConfig shape, LayerParameters<T> weights, float epsilon, float theta, RopeScaling? scaling) =>
        new(shape, weights, epsilon, new Rope<T>(shape.HeadSize, theta, scaling));
}

/// <summary>Activations of a MoA forward pass.</summary>
/// <param name="Hidden">[n, E]</param>
/// <param name="Rows">0..n-1</param>
/// <param name="Middle">Input of the target's last layers [n, E], with N > 0.</param>
/// <param name="Horizon">i - start(i) [n].</param>
/// <param name="Head">The target's.</param>
/// <param name="Lsa">LSA of consecutive tokens; none where there is no LSA.</param>
/// <param name="Mean">Mean over layers [n, Ekv].</param>
/// <param name="Mixed">Output of Ekv2E [n, E].</param>
/// <param name="Sa">SA.</param>
/// <param name="Ca">CA.</param>
/// <param name="Last">The target's last layers, with N > 0.</param>
internal sealed record MoaPrediction<T>(
    Tensor<T> Hidden, int[] Rows, Tensor<T>? Middle, int[] Horizon, Parameter<T> Head, IReadOnlyList<LayerState<T>> Lsa, Tensor<T> Mean, Tensor<T> Mixed, LayerState<T> Sa, LayerState<T> Ca, LastLayersState<T>? Last)
    : Prediction<T>(Hidden, Rows, Middle, Horizon, Head) where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    /// <inheritdoc/>
    public override Tensor<T> Attended => Mixed;
}

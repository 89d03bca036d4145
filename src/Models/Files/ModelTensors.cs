namespace LowLevelSpec.Models;

/// <summary>Weights of one Llama decoder layer. Shapes: E hidden, H heads, K kv heads, D head size, F MLP width.</summary>
public sealed record LayerTensors
{
    /// <summary>[E]</summary>
    public required TensorView InputNorm { get; init; }

    /// <summary>[H*D, E]</summary>
    public required TensorView Query { get; init; }

    /// <summary>[K*D, E]</summary>
    public required TensorView Key { get; init; }

    /// <summary>[K*D, E]</summary>
    public required TensorView Value { get; init; }

    /// <summary>[E, H*D]</summary>
    public required TensorView Output { get; init; }

    /// <summary>[H*D], null without biases.</summary>
    public TensorView? QueryBias { get; init; }

    /// <summary>[K*D], null without biases.</summary>
    public TensorView? KeyBias { get; init; }

    /// <summary>[K*D], null without biases.</summary>
    public TensorView? ValueBias { get; init; }

    /// <summary>[E], null without one (Llama's <c>attention_bias</c> brings it, Qwen2 has none).</summary>
    public TensorView? OutputBias { get; init; }

    /// <summary>[E]</summary>
    public required TensorView PostAttentionNorm { get; init; }

    /// <summary>[F, E]</summary>
    public required TensorView Gate { get; init; }

    /// <summary>[F, E]</summary>
    public required TensorView Up { get; init; }

    /// <summary>[E, F]</summary>
    public required TensorView Down { get; init; }
}

/// <summary>Weights of a target (or of an independent drafter), every shape checked against <see cref="Config"/>.</summary>
public sealed record LlamaTensors
{
    /// <summary>The sizes all shapes agree with.</summary>
    public required LlamaConfig Config { get; init; }

    /// <summary>[V, E]</summary>
    public required TensorView Embedding { get; init; }

    /// <summary>L layers.</summary>
    public required IReadOnlyList<LayerTensors> Layers { get; init; }

    /// <summary>[E]</summary>
    public required TensorView FinalNorm { get; init; }

    /// <summary>[V, E]; the embedding table where embeddings are tied.</summary>
    public required TensorView LmHead { get; init; }
}

/// <summary>Weights of a Mixture-of-Attentions drafter (paper section 3; authors' tensor names).</summary>
public sealed record MoaTensors
{
    /// <summary>LSA: a layer of hidden size Ekv over the layer axis. Null where <c>disable_LSA</c> is set.</summary>
    public LayerTensors? LayerSelfAttention { get; init; }

    /// <summary>Sizes of LSA (hidden = Ekv); null where LSA is disabled.</summary>
    public DrafterLayerConfig? LayerSelfAttentionConfig { get; init; }

    /// <summary>[E, Ekv]</summary>
    public required TensorView Ekv2E { get; init; }

    /// <summary>[E]</summary>
    public required TensorView Ekv2EBias { get; init; }

    /// <summary>SA.</summary>
    public required LayerTensors SelfAttention { get; init; }

    /// <summary>Sizes of SA.</summary>
    public required DrafterLayerConfig SelfAttentionConfig { get; init; }

    /// <summary>CA.</summary>
    public required LayerTensors CrossAttention { get; init; }

    /// <summary>Sizes of CA.</summary>
    public required DrafterLayerConfig CrossAttentionConfig { get; init; }

    /// <summary>RMSNorm's epsilon.</summary>
    public required float RmsNormEpsilon { get; init; }

    /// <summary>RoPE base.</summary>
    public required float RopeTheta { get; init; }

    /// <summary>N of target layer inference from the config, null where it does not say.</summary>
    public int? TargetLayerInference { get; init; }
}

/// <summary>Weights of an EAGLE-2 drafter (<c>spec_model.*</c>, <c>spec_model_fc.weight</c>).</summary>
public sealed record EagleTensors
{
    /// <summary>[E, 2E], over [embedding ; feature].</summary>
    public required TensorView Fc { get; init; }

    /// <summary>[E], null where the checkpoint has none.</summary>
    public TensorView? FcBias { get; init; }

    /// <summary>The one decoder layer.</summary>
    public required LayerTensors Layer { get; init; }

    /// <summary>Sizes of the layer.</summary>
    public required DrafterLayerConfig LayerConfig { get; init; }

    /// <summary>RMSNorm's epsilon.</summary>
    public required float RmsNormEpsilon { get; init; }

    /// <summary>RoPE base.</summary>
    public required float RopeTheta { get; init; }
}

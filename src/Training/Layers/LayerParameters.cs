using System.Numerics;
using LowLevelSpec.Models;
using LowLevelSpec.Training.Compute;

namespace LowLevelSpec.Training.Layers;

/// <summary>The weights of one Llama decoder layer: E hidden, H*D queries, K*D keys and values, F MLP width; biases on q, k, v or none.</summary>
internal sealed class LayerParameters<T> where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    /// <summary>Gain [E].</summary>
    public required Parameter<T> InputNorm { get; init; }

    /// <summary>[H*D, E]</summary>
    public required Parameter<T> Query { get; init; }

    /// <summary>[K*D, E]</summary>
    public required Parameter<T> Key { get; init; }

    /// <summary>[K*D, E]</summary>
    public required Parameter<T> Value { get; init; }

    /// <summary>[E, H*D]</summary>
    public required Parameter<T> Output { get; init; }

    /// <summary>[H*D], or null.</summary>
    public Parameter<T>? QueryBias { get; init; }

    /// <summary>[K*D], or null.</summary>
    public Parameter<T>? KeyBias { get; init; }

    /// <summary>[K*D], or null.</summary>
    public Parameter<T>? ValueBias { get; init; }

    /// <summary>Gain [E].</summary>
    public required Parameter<T> PostNorm { get; init; }

    /// <summary>[F, E]</summary>
    public required Parameter<T> Gate { get; init; }

    /// <summary>[F, E]</summary>
    public required Parameter<T> Up { get; init; }

    /// <summary>[E, F]</summary>
    public required Parameter<T> Down { get; init; }

    /// <summary>Each, in an order that is the same for all layers.</summary>
    public Parameter<T>?[] Roles => [InputNorm, Query, Key, Value, Output, QueryBias, KeyBias, ValueBias, PostNorm, Gate, Up, Down];

    /// <summary>All that are there.</summary>
    public IEnumerable<Parameter<T>> All => Roles.Where(static p => p is not null)!;

    /// <summary>Reads a layer from its file.</summary>
    public static LayerParameters<T> Load(LayerTensors tensors, bool trainable)
    {
        return new LayerParameters<T>
        {
            InputNorm = Read(tensors.InputNorm),
            Query = Read(tensors.Query),
            Key = Read(tensors.Key),
            Value = Read(tensors.Value),
            Output = Read(tensors.Output),
            QueryBias = tensors.QueryBias is null ? null : Read(tensors.QueryBias),
            KeyBias = tensors.KeyBias is null ? null : Read(tensors.KeyBias),
            ValueBias = tensors.ValueBias is null ? null : Read(tensors.ValueBias),
            PostNorm = Read(tensors.PostAttentionNorm),
            Gate = Read(tensors.Gate),
            Up = Read(tensors.Up),
            Down = Read(tensors.Down),
        };

        Parameter<T> Read(TensorView view) => Parameter<T>.Load(view, trainable);
    }

    /// <summary>A new, zeroed, trainable layer under Hugging Face's names behind <paramref name="prefix"/>.</summary>
    public static LayerParameters<T> Create(string prefix, DrafterLayerConfig shape, bool biases)
    {
        long e = shape.HiddenSize, q = (long)shape.Heads * shape.HeadSize, kv = (long)shape.KvHeads * shape.HeadSize, f = shape.IntermediateSize;
        return new LayerParameters<T>
        {
            InputNorm = New("input_layernorm.weight", e),
            Query = New("self_attn.q_proj.weight", q, e),
            Key = New("self_attn.k_proj.weight", kv, e),
            Value = New("self_attn.v_proj.weight", kv, e),
            Output = New("self_attn.o_proj.weight", e, q),
            QueryBias = biases ? New("self_attn.q_proj.bias", q) : null,
            KeyBias = biases ? New("self_attn.k_proj.bias", kv) : null,
            ValueBias = biases ? New("self_attn.v_proj.bias", kv) : null,
            PostNorm = New("post_attention_layernorm.weight", e),
            Gate = New("mlp.gate_proj.weight", f, e),
            Up = New("mlp.up_proj.weight", f, e),
            Down = New("mlp.down_proj.weight", e, f),
        };

        Parameter<T> New(string name, params long[] shape) => new($"{prefix}.{name}", shape, trainable: true);
    }
}

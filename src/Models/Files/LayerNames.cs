namespace LowLevelSpec.Models;

/// <summary>What the tensors of one Llama decoder layer are called in a file.</summary>
internal sealed record LayerNames
{
    public const string GgufEmbedding = "token_embd.weight";

    public required string InputNorm { get; init; }

    public required string Query { get; init; }

    public required string Key { get; init; }

    public required string Value { get; init; }

    public required string Output { get; init; }

    public required string QueryBias { get; init; }

    public required string KeyBias { get; init; }

    public required string ValueBias { get; init; }

    public required string OutputBias { get; init; }

    public required string PostAttentionNorm { get; init; }

    public required string Gate { get; init; }

    public required string Up { get; init; }

    public required string Down { get; init; }

    /// <summary>Hugging Face's names behind a prefix such as "model.layers.3." or "cross_attention.".</summary>
    public static LayerNames HuggingFace(string prefix) => new()
    {
        InputNorm = $"{prefix}input_layernorm.weight",
        Query = $"{prefix}self_attn.q_proj.weight",
        Key = $"{prefix}self_attn.k_proj.weight",
        Value = $"{prefix}self_attn.v_proj.weight",
        Output = $"{prefix}self_attn.o_proj.weight",
        QueryBias = $"{prefix}self_attn.q_proj.bias",
        KeyBias = $"{prefix}self_attn.k_proj.bias",
        ValueBias = $"{prefix}self_attn.v_proj.bias",
        OutputBias = $"{prefix}self_attn.o_proj.bias",
        PostAttentionNorm = $"{prefix}post_attention_layernorm.weight",
        Gate = $"{prefix}mlp.gate_proj.weight",
        Up = $"{prefix}mlp.up_proj.weight",
        Down = $"{prefix}mlp.down_proj.weight",
    };

    /// <summary>GGUF's names of layer <paramref name="layer"/>.</summary>
    public static LayerNames Gguf(int layer) => new()
    {
        InputNorm = $"blk.{layer}.attn_norm.weight",
        Query = $"blk.{layer}.attn_q.weight",
        Key = $"blk.{layer}.attn_k.weight",
        Value = $"blk.{layer}.attn_v.weight",
        Output = $"blk.{layer}.attn_output.weight",
        QueryBias = $"blk.{layer}.attn_q.bias",
        KeyBias = $"blk.{layer}.attn_k.bias",
        ValueBias = $"blk.{layer}.attn_v.bias",
        OutputBias = $"blk.{layer}.attn_output.bias",
        PostAttentionNorm = $"blk.{layer}.ffn_norm.weight",
        Gate = $"blk.{layer}.ffn_gate.weight",
        Up = $"blk.{layer}.ffn_up.weight",
        Down = $"blk.{layer}.ffn_down.weight",
    };
}

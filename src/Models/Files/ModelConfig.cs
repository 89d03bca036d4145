namespace LowLevelSpec.Models;

/// <summary>Llama 3.1's RoPE scaling (<c>rope_type: llama3</c>): low frequencies are divided by <paramref name="Factor"/>, the band between is blended.</summary>
/// <param name="Factor">Divisor of the low frequencies.</param>
/// <param name="LowFrequencyFactor">Wavelengths above original/low are scaled fully.</param>
/// <param name="HighFrequencyFactor">Wavelengths below original/high are left alone.</param>
/// <param name="OriginalContextLength">Context the model was trained on before scaling, in tokens.</param>
public sealed record RopeScaling(float Factor, float LowFrequencyFactor, float HighFrequencyFactor, int OriginalContextLength);

/// <summary>Sizes of a decoder-only target of the Llama family (Llama, Qwen2): what the engine needs to run it.</summary>
public sealed record LlamaConfig
{
    /// <summary>"llama" or "qwen2" (biases on q, k, v).</summary>
    public required string ModelType { get; init; }

    /// <summary>V, tokens in the embedding table.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>E, hidden size.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>L, decoder layers.</summary>
    public required int Layers { get; init; }

    /// <summary>H, query heads.</summary>
    public required int Heads { get; init; }

    /// <summary>K, key/value heads.</summary>
    public required int KvHeads { get; init; }

    /// <summary>D, elements per head.</summary>
    public required int HeadSize { get; init; }

    /// <summary>Width of the SwiGLU MLP.</summary>
    public required int IntermediateSize { get; init; }

    /// <summary>RMSNorm's epsilon.</summary>
    public required float RmsNormEpsilon { get; init; }

    /// <summary>RoPE base.</summary>
    public required float RopeTheta { get; init; }

    /// <summary>RoPE scaling, null for plain RoPE.</summary>
    public RopeScaling? RopeScaling { get; init; }

    /// <summary>Longest sequence in tokens (<c>max_position_embeddings</c>).</summary>
    public required int ContextLength { get; init; }

    /// <summary>Whether the LM head is the embedding table.</summary>
    public bool TiedEmbeddings { get; init; }

    /// <summary>Whether q, k, v carry biases.</summary>
    public bool AttentionBias { get; init; }

    /// <summary>Whether o carries a bias too (Llama's <c>attention_bias</c>).</summary>
    public bool OutputBias { get; init; }

    /// <summary>Token that begins a text, if the model has one.</summary>
    public int? BeginToken { get; init; }

    /// <summary>Tokens that end a text (<c>eos_token_id</c>, also from <c>generation_config.json</c>; GGUF's eos and eot).</summary>
    public IReadOnlyList<int> EndTokens { get; init; } = [];

    /// <summary>Ekv = 2*K*D: keys and values of one layer for one token, in elements.</summary>
    public int KvSize => 2 * KvHeads * HeadSize;
}

/// <summary>Sizes of one Llama-style drafter layer.</summary>
/// <param name="HiddenSize">Input and output width.</param>
/// <param name="Heads">Query heads.</param>
/// <param name="KvHeads">Key/value heads.</param>
/// <param name="HeadSize">Elements per head; Heads*HeadSize need not equal HiddenSize (uneven LSA).</param>
/// <param name="IntermediateSize">MLP width.</param>
public sealed record DrafterLayerConfig(int HiddenSize, int Heads, int KvHeads, int HeadSize, int IntermediateSize);

using System.Runtime.InteropServices;
using LowLevelSpec.Models;

namespace LowLevelSpec.CudaBench;

/// <summary>A target and a Mixture-of-Attentions drafter of a given shape. Weights are views of one block of random bf16 numbers, of which the device
/// gets copies; what a layer adds to its input (o and down) is zero. So the next token follows from the current one alone, for target and drafter alike, and every draft is right: acceptance
/// can be set to any length. No kernel knows.</summary>
internal sealed unsafe class RandomModel
{
    private readonly nint _weights, _ones, _zeros;

    private RandomModel(LlamaConfig config, bool isTiny)
    {
        (Config, IsTiny) = (config, isTiny);
        long most = (long)config.VocabularySize * config.HiddenSize;
        most = Math.Max(most, (long)config.IntermediateSize * config.HiddenSize);

        // Numbers of order 0.02, as trained weights have; a process's only block, never freed.
        ushort* weights = (ushort*)NativeMemory.Alloc((nuint)most * sizeof(ushort));
        uint state = 1;
        for (long i = 0; i < most; i++)
        {
            state = (state * 1664525) + 1013904223;
            float value = ((state >> 8) / (float)(1 << 24) * 0.07f) - 0.035f;
            weights[i] = (ushort)(BitConverter.SingleToUInt32Bits(value) >> 16);
        }

        int widest = Math.Max(config.HiddenSize, config.KvSize);
        float* ones = (float*)NativeMemory.Alloc((nuint)widest * sizeof(float));
        new Span<float>(ones, widest).Fill(1);
        _zeros = (nint)NativeMemory.AllocZeroed((nuint)most * sizeof(ushort));
        (_weights, _ones) = ((nint)weights, (nint)ones);
        Target = new LlamaTensors
        {
            Config = config,
            Embedding = Matrix("embedding", config.VocabularySize, config.HiddenSize),
            Layers = [.. Enumerable.Range(0, config.Layers).Select(_ => Layer(config.HiddenSize, config.Heads * config.HeadSize, config.KvHeads * config.HeadSize, config.IntermediateSize))],
            FinalNorm = Gain(config.HiddenSize),
            LmHead = Matrix("lm_head", config.VocabularySize, config.HiddenSize),
        };
        DrafterLayerConfig layer = new(config.HiddenSize, config.Heads, config.KvHeads, config.HeadSize, config.IntermediateSize);
        DrafterLayerConfig lsa = new(config.KvSize, config.Heads, config.KvHeads, config.KvSize / config.Heads, config.KvSize);
        Drafter = new MoaTensors
        {
            LayerSelfAttention = Layer(config.KvSize, config.KvSize, lsa.KvHeads * lsa.HeadSize, config.KvSize),
            LayerSelfAttentionConfig = lsa,
            Ekv2E = Matrix("Ekv2E", config.HiddenSize, config.KvSize),
            Ekv2EBias = Gain(config.HiddenSize),
            SelfAttention = Layer(config.HiddenSize, config.Heads * config.HeadSize, config.KvHeads * config.HeadSize, config.IntermediateSize),
            SelfAttentionConfig = layer,
            CrossAttention = Layer(config.HiddenSize, config.Heads * config.HeadSize, config.KvHeads * config.HeadSize, config.IntermediateSize),
            CrossAttentionConfig = layer,
            RmsNormEpsilon = config.RmsNormEpsilon,
            RopeTheta = config.RopeTheta,
        };
    }

    /// <summary>Sizes.</summary>
    public LlamaConfig Config { get; }

    /// <summary>Whether it only shows that the benchmark runs.</summary>
    public bool IsTiny { get; }

    /// <summary>The target's weights.</summary>
    public LlamaTensors Target { get; }

    /// <summary>The drafter's weights.</summary>
    public MoaTensors Drafter { get; }

    /// <summary>Bytes of the weights that a pass over one token reads.</summary>
    public long PassBytes => sizeof(ushort) * ((Config.Layers * LayerElements) + ((long)Config.VocabularySize * Config.HiddenSize));

    private long LayerElements =>
        ((long)Config.HiddenSize * ((2 * Config.Heads) + (2 * Config.KvHeads)) * Config.HeadSize) + (3L * Config.HiddenSize * Config.IntermediateSize);

    /// <summary>Makes the weights of a shape.</summary>
    /// <exception cref="InputException">The name is unknown.</exception>
    public static RandomModel Create(string shape) => shape switch
    {
        "llama-3-8b" => new RandomModel(Sizes(128256, 4096, 32, 32, 8, 14336, 8192, 500000), isTiny: false),
        "tiny" => new RandomModel(Sizes(64, 32, 2, 4, 2, 64, 256, 10000), isTiny: true),
        _ => throw new InputException($"--shape: found '{shape}', expected llama-3-8b or tiny"),
    };

    /// <summary>A [rows, columns] weight.</summary>
    public TensorView Matrix(string name, int rows, int columns) => new(name, TensorType.BF16, [rows, columns], _weights, "random weights");

    private static LlamaConfig Sizes(int vocabulary, int hidden, int layers, int heads, int kvHeads, int intermediate, int context, float theta) => new()
    {
        ModelType = "llama",
        VocabularySize = vocabulary,
        HiddenSize = hidden,
        Layers = layers,
        Heads = heads,
        KvHeads = kvHeads,
        HeadSize = hidden / heads,
        IntermediateSize = intermediate,
        RmsNormEpsilon = 1e-5f,
        RopeTheta = theta,
        ContextLength = context,
    };

    private TensorView Gain(int length) => new("gain", TensorType.F32, [length], _ones, "random weights");

    private LayerTensors Layer(int hidden, int query, int kv, int intermediate) => new()
    {
        InputNorm = Gain(hidden),
        Query = Matrix("q", query, hidden),
        Key = Matrix("k", kv, hidden),
        Value = Matrix("v", kv, hidden),
        Output = Zeros("o", hidden, query),
        PostAttentionNorm = Gain(hidden),
        Gate = Matrix("gate", intermediate, hidden),
        Up = Matrix("up", intermediate, hidden),
        Down = Zeros("down", hidden, intermediate),
    };

    private TensorView Zeros(string name, int rows, int columns) => new(name, TensorType.BF16, [rows, columns], _zeros, "zeros");
}

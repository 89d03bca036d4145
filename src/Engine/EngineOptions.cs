namespace LowLevelSpec.Engine;

/// <summary>Vector width of the CPU backend. All widths give the same bits.</summary>
public enum SimdWidth
{
    /// <summary>The widest the processor has.</summary>
    Auto = 0,

    /// <summary>No vectors.</summary>
    Scalar = 32,

    /// <summary>128 bits (SSE, NEON).</summary>
    Bits128 = 128,

    /// <summary>256 bits (AVX2).</summary>
    Bits256 = 256,

    /// <summary>512 bits (AVX-512).</summary>
    Bits512 = 512,
}

/// <summary>How the CPU backend multiplies weights that are not f32. Speculative and plain text are the same in either; the two modes' texts may differ.</summary>
public enum Arithmetic
{
    /// <summary>
    /// The faster one: inputs are rounded to 8 bits per block of 32 and multiplied as integers (Q8_0, Q4_0, Q4_1, Q4_K, Q5_K, Q6_K); F16 and BF16 meet f32 inputs, one chain per
    /// output. These weights are repacked, which takes as much memory again as they do in the file. F32 is multiplied where it lies.
    /// </summary>
    Auto,

    /// <summary>Every product in f32, weights used where the file is mapped.</summary>
    Exact,
}

/// <summary>
/// How the CPU backend stores the target's keys and values. Speculative and plain text are the same with each; texts of different types may differ. A drafter's own
/// caches are f32, and a GPU's are bf16.
/// </summary>
public enum KvType
{
    /// <summary>32 bits, no rounding.</summary>
    F32,

    /// <summary>IEEE half: 11 significant bits, up to 65504; a larger value becomes infinite, which ends the generation with an error wherever a product with it is not a number.</summary>
    F16,

    /// <summary>bfloat16: 8 significant bits, the range of f32.</summary>
    BF16,
}

/// <summary>What multiplies the rows of a prompt on a GPU. Speculative and plain text are the same with each; texts of different ones may differ where two tokens are nearly as likely.</summary>
public enum PrefillProducts
{
    /// <summary>The engine's own kernels, as for decoding: a context that is rebuilt from its tokens has the bits of the one that decoding left.</summary>
    Kernels,

    /// <summary>cuBLAS for bf16 weights without a bias. A rebuilt context differs in its last bits from one that decoding left.</summary>
    Cublas,

    /// <summary>cuBLAS where it is installed, else the kernels.</summary>
    Auto,
}

/// <summary>How a model is run.</summary>
public sealed record EngineOptions
{
    /// <summary>Threads of the CPU backend, the caller's included, at most 256; 0 = one per processor core the process may use.</summary>
    public int Threads { get; init; }

    /// <summary>
    /// Keeps each of the CPU backend's worker threads on a core of its own (Linux and Windows): for machines that do nothing else. Beside other work a pinned
    /// thread waits for its core while others are idle. The caller's thread is left alone.
    /// </summary>
    public bool PinThreads { get; init; }

    /// <summary>Vector width.</summary>
    public SimdWidth Width { get; init; }

    /// <summary>How quantised weights are multiplied.</summary>
    public Arithmetic Arithmetic { get; init; }

    /// <summary>How the target's keys and values are stored, on the CPU. A GPU stores bf16 and refuses <see cref="KvType.F16"/>.</summary>
    public KvType KvType { get; init; }

    /// <summary>What runs the model: "cpu", "cuda" (the first GPU), "cuda:N" or "emulated" (the GPU's kernels on the CPU, far slower: for tests).</summary>
    public string Device { get; init; } = "cpu";

    /// <summary>What multiplies the rows of a prompt, on a GPU.</summary>
    public PrefillProducts Prefill { get; init; }

    /// <summary>Longest sequence in tokens; 0 = what the model was made for. Never beyond that.</summary>
    public int ContextLength { get; init; }

    /// <summary>Folder in which measured costs are kept between runs; null = the user's cache (<see cref="Measuring.UserCache"/>), "" = nowhere.</summary>
    public string? CacheFolder { get; init; }
}

using LowLevelSpec.Interop.Cuda;
using LowLevelSpec.Interop.Cuda.Kernels;

namespace LowLevelSpec.Engine.Backends.Cuda;

/// <summary>The kernels by name; block sizes and shared memory as docs/cuda.md's table gives them.</summary>
internal enum Kernel
{
    Embed,
    RmsNorm,
    RopeAppend,
    Attention32,
    Attention64,
    Attention128,
    AttentionMerge,
    GroupAttention,
    GroupMean,
    GatherLayers,
    CopyRows,
    KeepRows,
    MatMulBF16,
    MatMulF32,
    MatMulQ8,
    MatMulQ4,
    SwiGlu,
    TopPartial,
    TopMerge,
    Sample,
    GrowFirst,
    Grow,
    Select,
    Accept,
    Rows,
    SplitRows,
}

/// <summary>Finds the kernels in a module when they are first wanted, and starts them on one stream.</summary>
internal sealed class KernelTable(CudaModule module, CudaStream stream)
{
    private const int MatMulShared = 32768 + 1024 + 256;
    private const int GrowShared = 576;

    private static readonly (string Name, int Threads, int SharedBytes)[] Known =
    [
        ("llspec_embed", 256, 0),
        ("llspec_rms_norm", 256, 32),
        ("llspec_rope_append", 256, 0),
        ("llspec_attention_d32", 128, AttentionShared(32)),
        ("llspec_attention_d64", 128, AttentionShared(64)),
        ("llspec_attention_d128", 128, AttentionShared(128)),
        ("llspec_attention_merge", 32, 0),
        ("llspec_group_attention", 32, 0),
        ("llspec_group_mean", 256, 0),
        ("llspec_gather_layers", 256, 0),
        ("llspec_copy_rows", 256, 0),
        ("llspec_keep_rows", 128, 0),
        ("llspec_matmul_bf16", 128, MatMulShared),
        ("llspec_matmul_f32", 128, MatMulShared),
        ("llspec_matmul_q8", 128, MatMulShared),
        ("llspec_matmul_q4", 128, MatMulShared),
        ("llspec_swiglu", 256, 0),
        ("llspec_top_partial", 256, 256),
        ("llspec_top_merge", 256, 256),
        ("llspec_sample", 256, 4608),
        ("llspec_grow_first", 256, GrowShared),
        ("llspec_grow", 256, GrowShared),
        ("llspec_select", 256, GrowShared),
        ("llspec_accept", 64, 256),
        ("llspec_rows", 64, 0),
        ("llspec_split_rows", 256, 0),
    ];

    private readonly CudaFunction?[] _functions = new CudaFunction?[Known.Length];

    /// <summary>Names of all kernels, in the order of <see cref="Kernel"/>.</summary>
    public static IEnumerable<string> Names => Known.Select(static k => k.Name);

    /// <summary>Loads all that a recorded cycle may use: loading code may wait for the device, which a recording must not.</summary>
    public void Prepare()
    {
        for (int i = 0; i < Known.Length; i++)
        {
            _functions[i] ??= module.Function(Known[i].Name, Known[i].SharedBytes);
        }
    }

    /// <summary>Enqueues a kernel.</summary>
    /// <param name="kernel">Which.</param>
    /// <param name="grid">Blocks.</param>
    /// <param name="argument">Its struct.</param>
    /// <param name="extraShared">Shared memory beyond the kernel's fixed need.</param>
    public void Launch<TArgument>(Kernel kernel, Grid grid, in TArgument argument, int extraShared = 0)
        where TArgument : unmanaged
    {
        (string name, int threads, int shared) = Known[(int)kernel];
        CudaFunction function = _functions[(int)kernel] ??= module.Function(name, shared);
        stream.Launch(function, grid, threads, shared + extraShared, argument);
    }

    // Queries in two bf16 parts; keys and values of two tiles.
    private static int AttentionShared(int headSize) => (2 * KernelLimits.BlockRows * headSize * 2) + (4 * 64 * headSize * 2);
}

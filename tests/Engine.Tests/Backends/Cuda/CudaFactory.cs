using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Backends.Cuda;
using LowLevelSpec.Interop.Cuda;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Backends.Cuda;

/// <summary>The CUDA backend: on the emulated device where it is built, else on the machine's GPU, which LLSPEC_TEST_DEVICE=cuda asks for in any case.</summary>
public sealed class CudaFactory : IBackendFactory
{
    /// <summary>The name for <see cref="EngineOptions.Device"/>.</summary>
    public static string Device => IsGpu ? "cuda" : "emulated";

    /// <summary>Why no test can run on it, or null.</summary>
    public static string? Missing => IsGpu && !File.Exists("/dev/nvidiactl")
        ? "no emulated device is built (./build.sh native) and this machine has no NVIDIA GPU"
        : null;

    private static bool IsGpu => Environment.GetEnvironmentVariable("LLSPEC_TEST_DEVICE") == "cuda" || CudaDriver.FindEmulated() is null;

    /// <inheritdoc/>
    public string? SkipReason => Missing;

    /// <inheritdoc/>
    public bool IsEmulated => Device == "emulated";

    /// <inheritdoc/>
    public int MostTop => 32;

    /// <inheritdoc/>
    public IBackend Create(int threads) => CudaDevices.Open(Device)!;

    /// <summary>
    /// An activation in two bf16 parts lacks at most 2^-18 of itself, 64 units of f32, a weight in f32 as much, and the product of both low parts is left out:
    /// 192 units at most; then one rounding per 8 products of a tensor core's chain, which may truncate (2 units), and one per part.
    /// </summary>
    public int SumRoundings(int terms) => 192 + (terms / 4) + 16;

    /// <summary>A thread adds every 256th exponential of a block of 2048 columns, a tree the threads', the last step the blocks'.</summary>
    public int ExponentialSumRoundings(int terms) => 8 + 8 + ((terms + 2047) / 2048) + 6;

    /// <summary>Caches hold bf16.</summary>
    public float Stored(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return float.IsNaN(value) ? value : BitConverter.UInt32BitsToSingle((bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000);
    }

    /// <summary>Skips the test where neither device is there.</summary>
    public static void Require() => Assert.SkipWhen(Missing is not null, Missing ?? "");

    /// <summary>Skips the test where there is no device or, on a GPU, no cuBLAS; the emulated device has its own.</summary>
    public static void RequireCublas()
    {
        Require();
        if (Device == "cuda")
        {
            using CudaBackend backend = (CudaBackend)CudaDevices.Open(Device, PrefillProducts.Auto)!;
            Assert.SkipUnless(backend.HasCublas, "cuBLAS is not installed");
        }
    }
}

[Collection(nameof(CudaFactory))]
public sealed class CudaMatMulTests : MatMulTests<CudaFactory>;

[Collection(nameof(CudaFactory))]
public sealed class CudaElementTests : ElementTests<CudaFactory>;

[Collection(nameof(CudaFactory))]
public sealed class CudaSelectionTests : SelectionTests<CudaFactory>;

[Collection(nameof(CudaFactory))]
public sealed class CudaAttentionTests : AttentionTests<CudaFactory>;

[Collection(nameof(CudaFactory))]
public sealed class CudaCacheTests : CacheTests<CudaFactory>;

[Collection(nameof(CudaFactory))]
public sealed class CudaInvarianceTests : InvarianceTests<CudaFactory>;

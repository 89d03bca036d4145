using System.Runtime.InteropServices;

namespace LowLevelSpec.Interop.Cuda;

/// <summary>
/// A cuBLAS handle on a stream, with working memory of its own: what it computes is then a function of shapes, types and alignments alone on one machine, whatever other
/// streams do (NVIDIA's terms for reproducible results).
/// </summary>
internal sealed unsafe partial class Cublas : CudaHandle
{
    /// <summary>Names the library to use instead of the system's.</summary>
    public const string LibraryVariable = "LLSPEC_CUBLAS_LIBRARY";

    private const string Library = "llspec-cublas";
    private const int RealF32 = 0, RealBF16 = 14, ComputeF32 = 68, DefaultAlgorithm = -1, Plain = 0, Transposed = 1;

    // What NVIDIA recommends for the devices with the largest need.
    private const long WorkspaceBytes = 32 << 20;

    private readonly DeviceMemory _workspace;

    private Cublas(CudaStream stream)
        : base(stream.Context, stream)
    {
        try
        {
            _workspace = new DeviceMemory(stream.Context, WorkspaceBytes, "the working memory of cuBLAS");
        }
        catch
        {
            GiveUp();
            throw;
        }

        _ = Driver;
        int status = cublasCreate_v2(out nint made);
        if (status != CudaStatus.Success)
        {
            _workspace.Dispose();
            GiveUp();
        }

        Require(status, "create a cuBLAS handle");
        SetHandle(made);
        try
        {
            // In this order: a new stream takes the working memory away.
            Require(cublasSetStream_v2(made, stream.Value), "give cuBLAS a stream");
            Require(cublasSetWorkspace_v2(made, _workspace.Address, (nuint)WorkspaceBytes), "give cuBLAS working memory");
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    private static string[] SystemNames => OperatingSystem.IsWindows()
        ? ["cublas64_13.dll", "cublas64_12.dll", "cublas64_11.dll"]
        : ["libcublas.so.13", "libcublas.so.12", "libcublas.so.11", "libcublas.so"];

    /// <summary>The files that are tried, best first: the environment's, the emulated device's own, or the system's.</summary>
    public static IReadOnlyList<string> Candidates(ICudaDriver driver) => Environment.GetEnvironmentVariable(LibraryVariable) is { Length: > 0 } given
        ? [given]
        : driver is NativeCudaDriver { IsEmulated: true } emulated ? [emulated.Library] : SystemNames;

    /// <summary>Opens cuBLAS, whichever of the versions known is there.</summary>
    /// <returns>Null where none is.</returns>
    /// <exception cref="CudaException">It is there and refuses.</exception>
    public static Cublas? TryOpen(CudaStream stream) => NativeLibraries.Load(Library, Candidates(stream.Context.Driver)) is null ? null : new Cublas(stream);

    /// <summary>output[r, o] = sum_i weight[o, i] * input[r, i] (+ output[r, o]): weight and input bf16, sums and output f32, all row-major.</summary>
    /// <param name="weight">[outputs, columns].</param>
    /// <param name="input">[rows, columns].</param>
    /// <param name="output">[rows, outputs].</param>
    /// <param name="accumulate">Whether what is in the output is added.</param>
    public void Multiply(DeviceMatrix weight, DeviceMatrix input, DeviceMatrix output, bool accumulate)
    {
        _ = Driver;

        // cuBLAS counts down columns: its matrices are the transposes of ours.
        float one = 1, old = accumulate ? 1 : 0;
        int status = cublasGemmEx(
            Value, Transposed, Plain, weight.Rows, input.Rows, weight.Columns, &one, weight.Address, RealBF16, weight.Stride, input.Address, RealBF16, input.Stride, &old, output.Address, RealF32,
            output.Stride, ComputeF32, DefaultAlgorithm);
        if (status != CudaStatus.Success)
        {
            Require(status, $"multiply [{weight.Rows}, {weight.Columns}] by {input.Rows} rows with cuBLAS");
        }
    }

    /// <inheritdoc/>
    protected override int Free(ICudaDriver driver, nint value)
    {
        int status = cublasDestroy_v2(value);
        _workspace.Dispose();
        return status;
    }

    private static void Require(int status, string operation)
    {
        if (status != CudaStatus.Success)
        {
            throw new CudaException(operation, "CUBLAS_STATUS", status, "see cublasStatus_t in NVIDIA's documentation");
        }
    }

    [LibraryImport(Library)]
    private static partial int cublasCreate_v2(out nint handle);

    [LibraryImport(Library)]
    private static partial int cublasDestroy_v2(nint handle);

    [LibraryImport(Library)]
    private static partial int cublasSetStream_v2(nint handle, nint stream);

    [LibraryImport(Library)]
    private static partial int cublasSetWorkspace_v2(nint handle, ulong workspace, nuint bytes);

    [LibraryImport(Library)]
    private static partial int cublasGemmEx(
        nint handle, int transposeA, int transposeB, int m, int n, int k, float* alpha, ulong a, int typeA, int strideA, ulong b, int typeB, int strideB, float* beta, ulong c, int typeC,
        int strideC, int computeType, int algorithm);
}

/// <summary>A matrix in device memory.</summary>
/// <param name="Address">Its first element.</param>
/// <param name="Rows">Rows.</param>
/// <param name="Columns">Columns.</param>
/// <param name="Stride">Elements from one row to the next.</param>
internal readonly record struct DeviceMatrix(ulong Address, int Rows, int Columns, int Stride);

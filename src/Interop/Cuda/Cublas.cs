using System.Runtime.InteropServices;

namespace LowLevelSpec.Interop.Cuda;

/// <summary>A cuBLAS handle on a stream: matrix products that measurements compare the kernels with.</summary>
internal sealed unsafe partial class Cublas : CudaHandle
{
    private const string Library = "llspec-cublas";
    private const int RealF32 = 0, RealBF16 = 14, ComputeF32 = 68, DefaultAlgorithm = -1, Plain = 0, Transposed = 1;

    private Cublas(CudaStream stream)
        : base(stream.Context, stream)
    {
        _ = Driver;
        int status = cublasCreate_v2(out nint made);
        if (status != CudaStatus.Success)
        {
            GiveUp();
        }

        Require(status, "create a cuBLAS handle");
        SetHandle(made);
        Require(cublasSetStream_v2(made, stream.Value), "give cuBLAS a stream");
    }

    private static string[] Names => OperatingSystem.IsWindows()
        ? ["cublas64_13.dll", "cublas64_12.dll", "cublas64_11.dll"]
        : ["libcublas.so.13", "libcublas.so.12", "libcublas.so.11", "libcublas.so"];

    /// <summary>Opens cuBLAS, whichever of the versions known is there.</summary>
    /// <returns>Null where none is.</returns>
    /// <exception cref="CudaException">It is there and refuses.</exception>
    public static Cublas? TryOpen(CudaStream stream) => NativeLibraries.Load(Library, Names) is null ? null : new Cublas(stream);

    /// <summary>output[r, o] = sum_i weight[o, i] * input[r, i]: weight and input bf16, sums and output f32, all row-major without gaps.</summary>
    /// <param name="weight">Address of [outputs, columns].</param>
    /// <param name="input">Address of [rows, columns].</param>
    /// <param name="output">Address of [rows, outputs].</param>
    /// <param name="rows">n.</param>
    /// <param name="outputs">O.</param>
    /// <param name="columns">I.</param>
    public void Multiply(ulong weight, ulong input, ulong output, int rows, int outputs, int columns)
    {
        _ = Driver;

        // cuBLAS counts down columns: its matrices are the transposes of ours.
        float one = 1, zero = 0;
        int status = cublasGemmEx(
            Value, Transposed, Plain, outputs, rows, columns, &one, weight, RealBF16, columns, input, RealBF16, columns, &zero, output, RealF32, outputs, ComputeF32, DefaultAlgorithm);
        Require(status, $"multiply [{outputs}, {columns}] by {rows} rows with cuBLAS");
    }

    /// <inheritdoc/>
    protected override int Free(ICudaDriver driver, nint value) => cublasDestroy_v2(value);

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
    private static partial int cublasGemmEx(
        nint handle, int transposeA, int transposeB, int m, int n, int k, float* alpha, ulong a, int typeA, int strideA, ulong b, int typeB, int strideB, float* beta, ulong c, int typeC,
        int strideC, int computeType, int algorithm);
}

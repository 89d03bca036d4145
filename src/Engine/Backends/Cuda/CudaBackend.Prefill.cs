using LowLevelSpec.Interop.Cuda;
using LowLevelSpec.Interop.Cuda.Kernels;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cuda;

/// <content>Products of prompts by cuBLAS.</content>
internal sealed partial class CudaBackend
{
    // Of the thread that prefills: others decode meanwhile.
    [ThreadStatic]
    private static CudaBackend? _prefilling;

    private readonly Cublas? _cublas;

    /// <inheritdoc/>
    public void Prefill(Action passes)
    {
        ArgumentNullException.ThrowIfNull(passes);
        CudaBackend? outer = _prefilling;
        _prefilling = this;
        try
        {
            passes();
        }
        finally
        {
            _prefilling = outer;
        }
    }

    /// <exception cref="InputException">cuBLAS is asked for and is not there.</exception>
    private static Cublas? OpenCublas(PrefillProducts prefill, CudaStream stream)
    {
        if (prefill == PrefillProducts.Kernels)
        {
            return null;
        }

        Cublas? cublas = Cublas.TryOpen(stream);
        return cublas is not null || prefill == PrefillProducts.Auto
            ? cublas
            : throw new InputException(
                $"--prefill cublas: cuBLAS can't be loaded (tried {string.Join(", ", Cublas.Candidates(stream.Context.Driver))}); install NVIDIA's cuBLAS (Debian: libcublas11), set {Cublas.LibraryVariable} to its path, or use --prefill kernels");
    }

    /// <summary>Whether a product is cuBLAS' now: of a prompt's rows and a bf16 weight, without a bias, which cuBLAS has no place for.</summary>
    private bool IsForCublas(CudaWeight weight, Weight? bias) => _cublas is not null && ReferenceEquals(_prefilling, this) && weight.Type == DeviceType.BF16 && bias is null;

    /// <summary>
    /// The product as two of bf16 inputs, high part and rest: activations keep f32's precision, as in the kernels. Holds the gate.
    /// </summary>
    private void MultiplyByCublas(CudaWeight w, Matrix input, ulong from, Matrix output, ulong to, bool accumulate)
    {
        int rows = input.Rows;
        if (rows == 0)
        {
            return;
        }

        // Addresses of whole 256 bytes, so that every prompt gets the same algorithm.
        long part = ((sizeof(ushort) * (long)rows * w.Stride) + 255) / 256 * 256;
        ulong high = _scratch.Get(ScratchKind.SplitRows, 2 * part), low = high + (ulong)part;
        _kernels.Launch(Kernel.SplitRows, new Grid(rows, Ceiling(input.Columns, 256)), new SplitRowsArgument
        {
            Input = from,
            High = high,
            Low = low,
            Rows = rows,
            Columns = input.Columns,
            InputStride = input.Stride,
            OutputStride = w.Stride,
        });
        DeviceMatrix weight = new(w.Data, w.Rows, w.Columns, w.Stride), result = new(to, rows, w.Rows, output.Stride);
        _cublas!.Multiply(weight, new DeviceMatrix(high, rows, w.Columns, w.Stride), result, accumulate);
        _cublas.Multiply(weight, new DeviceMatrix(low, rows, w.Columns, w.Stride), result, accumulate: true);
    }
}

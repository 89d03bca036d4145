using LowLevelSpec.Interop.Cuda;

namespace LowLevelSpec.Engine.Backends.Cuda;

/// <content>What measurements need.</content>
internal sealed partial class CudaBackend
{
    /// <summary>Runs <paramref name="work"/> and waits for it; seconds by the device's clock.</summary>
    public double Seconds(Action work)
    {
        using CudaEvent begun = new(_context, timed: true), done = new(_context, timed: true);
        begun.Record(_stream);
        work();
        done.Record(_stream);
        done.Synchronize();
        return done.MillisecondsSince(begun) / 1e3;
    }

    /// <summary>Whether <see cref="Prefill"/> goes by cuBLAS.</summary>
    public bool HasCublas => _cublas is not null;

    /// <summary>cuBLAS on this backend's stream, null where it is not installed.</summary>
    public Cublas? OpenCublas() => Cublas.TryOpen(_stream);

    /// <summary>The product that <see cref="MatMul"/> makes, by cuBLAS, with rows of bf16 where <paramref name="x"/> lies (for timing: any bits will do).</summary>
    public void Multiply(Cublas cublas, Weight weight, TensorBuffer x, TensorBuffer y, int rows)
    {
        CudaWeight w = Cuda(weight);
        OperationChecks.Holds(w.Type == Interop.Cuda.Kernels.DeviceType.BF16 && w.Stride == w.Columns && w.Columns % 2 == 0, "cuBLAS is given bf16 weights without gaps");
        lock (_gate)
        {
            DeviceMatrix input = new(Begin(new Matrix(x, 0, rows, w.Columns / 2, w.Columns / 2)), rows, w.Columns, w.Columns);
            DeviceMatrix output = new(Begin(new Matrix(y, 0, rows, w.Rows, w.Rows)), rows, w.Rows, w.Rows);
            cublas.Multiply(new DeviceMatrix(w.Data, w.Rows, w.Columns, w.Stride), input, output, accumulate: false);
        }
    }

    /// <summary>Copies elements inside a buffer; the ranges do not overlap.</summary>
    public void CopyElements(TensorBuffer buffer, long from, long to, long count)
    {
        OperationChecks.Holds(from >= 0 && to >= 0 && count >= 0 && Math.Max(from, to) <= buffer.Length - count, "CopyElements reaches beyond the buffer");
        lock (_gate)
        {
            ulong address = Begin(new Matrix(buffer, 0, 1, 0, 0));
            _stream.CopyOnDevice(address + ((ulong)to * sizeof(float)), address + ((ulong)from * sizeof(float)), count * sizeof(float));
        }
    }
}

using LowLevelSpec.Interop.Cuda;
using LowLevelSpec.Interop.Cuda.Kernels;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cuda;

/// <summary>
/// A weight's copy on the device. BF16 and F32 lie there as stored, Q8_0, Q4_0, Q4_1, Q4_K and Q5_K as codes with a scale (and an offset) per 32 columns, which
/// give the same values; F16 and Q6_K, which no kernel reads, are widened to f32 without loss. A vector, or a matrix of one row, is also there as f32.
/// </summary>
internal sealed class CudaWeight : Weight, IDisposable
{
    private readonly TensorView _view;
    private readonly DeviceMemory? _data, _scales, _offsets, _vector;
    private DeviceMemory? _table;

    /// <exception cref="InputException">The device has not that much memory.</exception>
    public CudaWeight(CudaContext context, CudaStream stream, TensorView view)
        : base(view.Name, view.Shape.Count <= 1 ? 1 : view.Rows, view.Shape.Count <= 1 ? checked((int)view.Elements) : view.Columns)
    {
        _view = view;
        Type = DeviceWeights.TypeOf(view.Type);
        Stride = DeviceWeights.Stride(Type, Columns);
        try
        {
            if (Rows == 1)
            {
                _vector = DeviceWeights.Vector(context, stream, view, Columns);
            }

            if (view.Shape.Count > 1)
            {
                (_data, _scales, _offsets) = DeviceWeights.Matrix(context, stream, view, Type, Stride);
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>How it lies there.</summary>
    public DeviceType Type { get; }

    /// <summary>Columns of a stored row: whole pieces of the kernels' loads, zeros at the end.</summary>
    public int Stride { get; }

    /// <summary>Parts that its columns are summed in.</summary>
    public int Parts => MatMulArgument.PartsOf(Rows, Columns);

    /// <summary>The kernel that multiplies by it.</summary>
    public Kernel MatMul => Kernel.MatMulBF16 + (int)Type;

    /// <summary>Address of row 0.</summary>
    public ulong Data => _data?.Address ?? throw new ArgumentException($"weight {Name} is a vector of {Columns}, expected a matrix");

    /// <summary>Address of the scales, 0 where there are none.</summary>
    public ulong Scales => _scales?.Address ?? 0;

    /// <summary>Address of the offsets, 0 where there are none.</summary>
    public ulong Offsets => _offsets?.Address ?? 0;

    /// <summary>Address of the one row as f32.</summary>
    public ulong Vector => _vector?.Address ?? throw new ArgumentException($"weight {Name} is [{Rows}, {Columns}], expected a vector");

    /// <summary>Address and type of the rows as an embedding table: without gaps, bf16 or f32. Made when first asked for, while the file is open.</summary>
    public (ulong Address, DeviceType Type) Table(CudaContext context, CudaStream stream)
    {
        if (Type is DeviceType.BF16 or DeviceType.F32 && Stride == Columns && _view.InterleavedHeads == 0)
        {
            return (Data, Type);
        }

        _table ??= DeviceWeights.Table(context, stream, _view, Rows, Columns);
        return (_table.Address, DeviceType.F32);
    }

    public void Dispose()
    {
        _data?.Dispose();
        _scales?.Dispose();
        _offsets?.Dispose();
        _vector?.Dispose();
        _table?.Dispose();
    }
}

/// <summary>Weights that are freed together.</summary>
internal sealed class WeightGroup : IDisposable
{
    private readonly List<CudaWeight> _weights = [];
    private readonly Lock _lock = new();

    public void Add(CudaWeight weight)
    {
        lock (_lock)
        {
            _weights.Add(weight);
        }
    }

    public void Dispose()
    {
        lock (_lock)
        {
            foreach (CudaWeight weight in _weights)
            {
                weight.Dispose();
            }

            _weights.Clear();
        }
    }
}

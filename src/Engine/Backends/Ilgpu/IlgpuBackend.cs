using System.Runtime.CompilerServices;
using ILGPU;
using ILGPU.Runtime;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Ilgpu;

/// <summary>
/// The operations on whatever GPU ILGPU finds (CUDA, OpenCL), or on its CPU emulation for tests: made for a drafter on a consumer device. Weights are
/// copied to the device: bf16 and Q8_0 as they are, other types as f32; activations, keys and values are f32. Work is enqueued on one stream in the order of the calls.
/// One backend's kernels always run with the same group size, so a row gives the same bits however many rows come along.
/// </summary>
public sealed partial class IlgpuBackend : IBackend
{
    private readonly Context _context;
    private readonly Accelerator _accelerator;
    private readonly IlgpuKernels _kernels;
    private readonly Lock _gate = new();
    private readonly List<IDisposable> _weights = [];
    private readonly Dictionary<nint, IlgpuWeight> _loaded = [];
    private readonly ConditionalWeakTable<RopeTable, DeviceRope> _ropes = [];
    private readonly MemoryBuffer1D<float, Stride1D.Dense> _noFloats;
    private readonly MemoryBuffer1D<ushort, Stride1D.Dense> _noHalves;
    private readonly MemoryBuffer1D<sbyte, Stride1D.Dense> _noBytes;
    private readonly DeviceInts _tokens, _positions, _rows, _plan, _lists;
    private readonly DeviceArray<int> _resultTokens, _status;
    private readonly DeviceArray<float> _resultValues;
    private readonly int _threads;
    private int[] _hostPlan = [], _hostLists = [], _hostStatus = [];
    private float[] _hostValues = [];
    private bool _disposed;

    internal IlgpuBackend(Context context, Device device, string name, int threadsPerGroup)
    {
        _context = context;
        _accelerator = device.CreateAccelerator(context);

        // The emulation runs each thread of a group as one of its own, so one per group is by far the fastest there.
        int wanted = threadsPerGroup > 0 ? threadsPerGroup : _accelerator.AcceleratorType == AcceleratorType.CPU ? 1 : Reduction.MostThreads;
        _threads = 1;
        while (_threads * 2 <= Math.Min(wanted, Math.Min(Reduction.MostThreads, _accelerator.MaxNumThreadsPerGroup)))
        {
            _threads *= 2;
        }

        Name = $"{name} ({device.Name})";
        _kernels = new IlgpuKernels(_accelerator);
        _noFloats = _accelerator.Allocate1D<float>(1);
        _noHalves = _accelerator.Allocate1D<ushort>(1);
        _noBytes = _accelerator.Allocate1D<sbyte>(1);
        (_tokens, _positions, _rows, _plan, _lists) = (new(_accelerator), new(_accelerator), new(_accelerator), new(_accelerator), new(_accelerator));
        (_resultTokens, _status, _resultValues) = (new(_accelerator), new(_accelerator), new(_accelerator));
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public bool PrefersLogitsOnDemand => false;

    /// <inheritdoc/>
    public TensorBuffer Allocate(long length, string purpose)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        return new IlgpuBuffer(Zeroed(length, purpose), length, purpose);
    }

    /// <inheritdoc/>
    public KvCache AllocateKvCache(int layers, int kvHeads, int headSize, int capacity, KvType type = KvType.F32)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(layers);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(kvHeads);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(headSize);
        ArgumentOutOfRangeException.ThrowIfNegative(capacity);
        string purpose = $"a key/value cache of {capacity} rows ({layers} layers, {kvHeads} heads of {headSize})";
        if (headSize > AttentionKernel.MostHeadSize)
        {
            throw new InputException($"{purpose}: the ILGPU backend takes heads of at most {AttentionKernel.MostHeadSize}; draft on the CPU");
        }

        long length = (long)layers * kvHeads * capacity * headSize;
        return new IlgpuKvCache(Zeroed(length, purpose), Zeroed(length, purpose), layers, kvHeads, headSize, capacity);
    }

    /// <inheritdoc/>
    public long KvCacheBytes(int layers, int kvHeads, int headSize, int capacity, KvType type = KvType.F32) =>
        2L * sizeof(float) * layers * kvHeads * capacity * headSize;

    /// <inheritdoc/>
    public Weight LoadWeight(TensorView view)
    {
        ArgumentNullException.ThrowIfNull(view);
        OperationChecks.IsWeight(view);
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            try
            {
                // Embeddings that are the LM head too are copied once.
                if (!_loaded.TryGetValue(view.Data, out IlgpuWeight? weight))
                {
                    weight = WeightUpload.Load(_accelerator, view, _weights, _noFloats, _noHalves, _noBytes);
                    _loaded.Add(view.Data, weight);
                }

                return weight;
            }
            catch (Exception e) when (e is AcceleratorException or OutOfMemoryException)
            {
                throw new InputException($"{view.FilePath}: tensor {view.Name} of {view.Elements} elements does not fit the memory of {Name}; draft on the CPU or with a trimmed vocabulary", e);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_disposed)
            {
                return;
            }

            _disposed = true;
            foreach (IDisposable owned in (IDisposable[])[.. _weights, _noFloats, _noHalves, _noBytes, _tokens, _positions, _rows, _plan, _lists, _resultTokens, _status, _resultValues])
            {
                owned.Dispose();
            }

            foreach ((_, DeviceRope rope) in _ropes)
            {
                rope.Dispose();
            }

            _accelerator.Dispose();
            _context.Dispose();
        }
    }

    private MemoryBuffer1D<float, Stride1D.Dense> Zeroed(long length, string purpose)
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            try
            {
                MemoryBuffer1D<float, Stride1D.Dense> memory = _accelerator.Allocate1D<float>(Math.Max(1, length));
                memory.MemSetToZero(_accelerator.DefaultStream);
                return memory;
            }
            catch (Exception e) when (e is AcceleratorException or OutOfMemoryException or OverflowException or ArgumentException)
            {
                throw new InputException($"{purpose} needs {length * sizeof(float)} bytes, which {Name} cannot give; use a shorter context or draft on the CPU", e);
            }
        }
    }

    private static DeviceMatrix Device(Matrix matrix)
    {
        if (matrix.Buffer is not IlgpuBuffer buffer)
        {
            throw new ArgumentException("the matrix lies in no buffer of the ILGPU backend");
        }

        OperationChecks.Inside(matrix);
        return new DeviceMatrix(buffer.View, matrix.Offset, matrix.Rows, matrix.Columns, matrix.Stride);
    }

    private static IlgpuWeight Device(Weight weight) =>
        weight as IlgpuWeight ?? throw new ArgumentException($"weight {weight.Name} was not loaded by the ILGPU backend");

    private static IlgpuKvCache Device(KvCache cache) =>
        cache as IlgpuKvCache ?? throw new ArgumentException("the cache was not allocated by the ILGPU backend");

    /// <summary>A vector's values; vectors are always f32 on the device.</summary>
    private static ArrayView<float> Vector(Weight weight, int length, string what)
    {
        IlgpuWeight vector = Device(weight);
        if (vector.Rows != 1 || vector.Columns != length || vector.Storage != IlgpuStorage.Float)
        {
            throw new ArgumentException($"{what} {weight.Name} is [{weight.Rows}, {weight.Columns}], expected a vector [1, {length}]");
        }

        return vector.Data.Floats;
    }

    private static int[] Grown(ref int[] array, int count)
    {
        if (array.Length < count)
        {
            array = new int[Math.Max(64, Math.Max(count, 2 * array.Length))];
        }

        return array;
    }

    private KernelConfig Groups(int count) => new(count, _threads);
}

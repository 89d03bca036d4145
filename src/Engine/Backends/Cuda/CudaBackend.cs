using System.Runtime.CompilerServices;
using LowLevelSpec.Interop.Cuda;
using LowLevelSpec.Interop.Cuda.Kernels;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cuda;

/// <summary>
/// The operations on a CUDA device, over the kernels of native/cuda: activations f32, KV caches bf16, weights as stored where a kernel reads that, else f32.
/// Work goes to one stream in the order of the calls; what several callers enqueue interleaves by whole operations.
/// </summary>
internal sealed partial class CudaBackend : IBackend
{
    // Rows of one launch of a matrix product: bounds its scratch. Rows do not depend on their company, so any cut gives the same bits.
    private const int RowsPerLaunch = 256;

    // Blocks that fill a device twice over; how work is cut for them never changes a bit.
    private const int WantedBlocks = 264;
    private const int Arrivals = 64 * 1024;

    private readonly Lock _gate = new();
    private readonly CudaContext _context;
    private readonly CudaStream _stream;

    // Brings what never changes to the device, and is waited for at once; also while the other stream records.
    private readonly CudaStream _setup;
    private readonly CudaModule _module;
    private readonly KernelTable _kernels;
    private readonly UploadRing _ring;
    private readonly RowUploads _rows;
    private readonly DeviceScratch _ownScratch;
    private readonly DeviceMemory _arrivals;
    private readonly ConditionalWeakTable<RopeTable, DeviceTable> _tables = [];
    private readonly ConditionalWeakTable<FixedPositions, DevicePositions> _positions = [];
    private DeviceScratch _scratch;
    private bool _disposed;

    /// <summary>Opens a device.</summary>
    /// <param name="device">Its number.</param>
    /// <param name="emulated">Whether the emulated device is meant: the same kernels on the CPU, for tests.</param>
    /// <param name="prefill">What multiplies a prompt's rows.</param>
    /// <exception cref="InputException">There is no driver, no such device, no kernel for it, or no cuBLAS where that is asked for.</exception>
    public CudaBackend(int device, bool emulated, PrefillProducts prefill = PrefillProducts.Kernels)
    {
        try
        {
            ICudaDriver driver = CudaDriver.OpenAny(emulated);
            _context = new CudaContext(driver, device);
            _stream = new CudaStream(_context);
            _setup = new CudaStream(_context);
            _module = KernelImage.Load(_context, _stream);
            _kernels = new KernelTable(_module, _stream);
            _ring = new UploadRing(_context, _stream);
            _rows = new RowUploads(_ring);
            _scratch = _ownScratch = new DeviceScratch(_context, keepsAll: false);
            _arrivals = DeviceBlocks.Zeroed(_context, _stream, Arrivals, sizeof(int), "counters of the matrix products");
            _cublas = OpenCublas(prefill, _stream);
            Name = $"cuda {_context.Device.Name}{(_cublas is null ? "" : ", prefill by cuBLAS")}";
        }
        catch (Exception e) when (e is CudaException or InputException)
        {
            _cublas?.Dispose();
            _arrivals?.Dispose();
            _ring?.Dispose();
            _module?.Dispose();
            _setup?.Dispose();
            _stream?.Dispose();
            _context?.Dispose();
            if (e is InputException)
            {
                throw;
            }

            throw new InputException($"--device {(emulated ? "emulated" : $"cuda:{device}")}: {e.Message}", e);
        }
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public bool PrefersLogitsOnDemand => false;

    /// <inheritdoc/>
    public TensorBuffer Allocate(long length, string purpose)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            return new CudaBuffer(_context, _stream, length, purpose);
        }
    }

    /// <inheritdoc/>
    public KvCache AllocateKvCache(int layers, int kvHeads, int headSize, int capacity, KvType type = KvType.F32)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(layers);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(kvHeads);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(headSize);
        ArgumentOutOfRangeException.ThrowIfNegative(capacity);
        if (headSize > MaxHeadSize)
        {
            throw new InputException($"heads of {headSize} elements: the GPU's attention kernels take up to {MaxHeadSize}; use --device cpu");
        }

        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            return new CudaKvCache(_context, _stream, layers, kvHeads, headSize, capacity);
        }
    }

    /// <inheritdoc/>
    public long KvCacheBytes(int layers, int kvHeads, int headSize, int capacity, KvType type = KvType.F32) =>
        2L * sizeof(ushort) * layers * kvHeads * capacity * CudaKvCache.RowSizeOf(headSize);

    /// <inheritdoc/>
    public unsafe void Read(Matrix source, Span<float> destination)
    {
        OperationChecks.Holds(destination.Length == (long)source.Rows * source.Columns, $"Read of [{source.Rows}, {source.Columns}] into {destination.Length} elements");
        lock (_gate)
        {
            ulong from = Begin(source);
            fixed (float* to = destination)
            {
                if (source.Stride == source.Columns)
                {
                    _stream.CopyToHost((nint)to, from, destination.Length * sizeof(float));
                }
                else
                {
                    for (int r = 0; r < source.Rows; r++)
                    {
                        _stream.CopyToHost((nint)(to + ((long)r * source.Columns)), from + ((ulong)r * (ulong)source.Stride * sizeof(float)), source.Columns * sizeof(float));
                    }
                }

                _stream.Synchronize();
            }
        }

        GC.KeepAlive(source.Buffer);
    }

    /// <inheritdoc/>
    public unsafe void Write(ReadOnlySpan<float> source, Matrix destination)
    {
        OperationChecks.Holds(source.Length == (long)destination.Rows * destination.Columns, $"Write of {source.Length} elements into [{destination.Rows}, {destination.Columns}]");
        lock (_gate)
        {
            ulong to = Begin(destination);
            fixed (float* from = source)
            {
                for (int r = 0; r < destination.Rows; r++)
                {
                    _stream.CopyToDevice(to + ((ulong)r * (ulong)destination.Stride * sizeof(float)), (nint)(from + ((long)r * destination.Columns)), destination.Columns * sizeof(float));
                }

                _stream.Synchronize();
            }
        }

        GC.KeepAlive(destination.Buffer);
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
        }

        foreach ((RopeTable _, DeviceTable table) in _tables)
        {
            table.Dispose();
        }

        foreach ((FixedPositions _, DevicePositions positions) in _positions)
        {
            positions.Dispose();
        }

        _weights.Dispose();
        _cublas?.Dispose();
        _arrivals.Dispose();
        _ownScratch.Dispose();
        _ring.Dispose();
        _module.Dispose();
        _setup.Dispose();
        _stream.Dispose();
        _context.Dispose();
    }

    /// <summary>Address of a matrix's first element, after the checks that every operation makes. Holds the gate.</summary>
    private ulong Begin(Matrix matrix)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        return Address(matrix);
    }

    private static ulong Address(Matrix matrix)
    {
        if (matrix.Buffer is not CudaBuffer buffer)
        {
            throw new ArgumentException("the matrix lies in no buffer of the CUDA backend");
        }

        OperationChecks.Inside(matrix);
        return buffer.Address + ((ulong)matrix.Offset * sizeof(float));
    }

    private static CudaWeight Cuda(Weight weight) =>
        weight as CudaWeight ?? throw new ArgumentException($"weight {weight.Name} was not loaded by the CUDA backend");

    private static CudaKvCache Cuda(KvCache cache) =>
        cache as CudaKvCache ?? throw new ArgumentException("the cache was not allocated by the CUDA backend");

    private static int Ceiling(int count, int size) => (count + size - 1) / size;

    /// <summary>Cosines and sines on the device that cover positions 0..<paramref name="positions"/>-1.</summary>
    private DeviceTable Table(RopeTable table, int positions)
    {
        if (!_tables.TryGetValue(table, out DeviceTable? device))
        {
            device = new DeviceTable();
            _tables.Add(table, device);
        }

        device.Cover(_context, _setup, table, positions);
        return device;
    }

    private ulong Positions(FixedPositions positions)
    {
        if (!_positions.TryGetValue(positions, out DevicePositions? device))
        {
            device = new DevicePositions(_context, _setup, positions.Values);
            _positions.Add(positions, device);
        }

        return device.Address;
    }
}

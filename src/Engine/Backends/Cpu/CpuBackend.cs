using System.Runtime.CompilerServices;
using LowLevelSpec.Interop.Cpu;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>
/// The operations on the CPU. Weights are read where the file is mapped, in their stored type, or, under <see cref="Arithmetic.Auto"/> and but for F32, from a repacked copy
/// (<see cref="PackedWeights"/>, <see cref="PackedHalves"/>); activations are f32, keys and values f32 or 16 bits.
/// All four vector widths, any number of threads and any number of rows give the same bits. Operations are done when they return.
/// A call allocates no managed memory, and native memory only when a shape exceeds all earlier ones.
/// </summary>
public sealed unsafe partial class CpuBackend : IBackend
{
    // Below this much work a call is done before another thread could help.
    private const long FlopsPerItem = 400_000;
    private const long BytesPerItem = 64 * 1024;

    // Items per thread: more than one, so that a thread that loses its core leaves its share to the others.
    private const int ItemsPerThread = 6;

    private readonly KernelSet _kernels;
    private readonly ThreadTeam _team;
    private readonly Scratch _scratch;
    private readonly Arithmetic _arithmetic;
    private readonly NativeTiles? _native;
    private readonly WeightArena _arena = new();

    [ThreadStatic]
    private static WeightGroup? t_collecting;
    private bool _disposed;

    /// <summary>Starts the backend's threads.</summary>
    /// <param name="threads">Threads, the caller's included, at most 256; 0 = one per processor core the process may use.</param>
    /// <param name="width">Vector width.</param>
    /// <param name="arithmetic">How products with quantised weights are computed.</param>
    /// <param name="pinThreads">See <see cref="EngineOptions.PinThreads"/>.</param>
    /// <exception cref="InputException">A thread count out of range, or a width the processor lacks.</exception>
    public CpuBackend(int threads, SimdWidth width, Arithmetic arithmetic = Arithmetic.Exact, bool pinThreads = false)
        : this(threads, width, arithmetic, null, pinThreads)
    {
        _native = arithmetic == Arithmetic.Auto ? NativeKernels.For(_kernels.Width) : null;
    }

    /// <summary>For tests: with the tiles of <paramref name="native"/>, whatever the width, or with <paramref name="kernels"/>.</summary>
    internal CpuBackend(int threads, SimdWidth width, Arithmetic arithmetic, NativeTiles? native, bool pinThreads = false, KernelSet? kernels = null)
    {
        _native = native;
        if (threads is < 0 or > ThreadTeam.MaxThreads)
        {
            throw new InputException($"the CPU backend cannot run {threads} threads; ask for 1 to {ThreadTeam.MaxThreads}, or 0 for one per core");
        }

        if (arithmetic is not (Arithmetic.Auto or Arithmetic.Exact))
        {
            throw new InputException($"the CPU backend knows no arithmetic {arithmetic}; expected {Arithmetic.Auto} or {Arithmetic.Exact}");
        }

        _arithmetic = arithmetic;
        _kernels = kernels ?? KernelSet.For(width);
        _team = new ThreadTeam(threads == 0 ? Math.Min(Environment.ProcessorCount, ThreadTeam.MaxThreads) : threads, pinThreads);
        _scratch = new Scratch(_team.Threads);
        string vectors = _kernels.Width == SimdWidth.Scalar ? "scalar" : $"{(int)_kernels.Width}-bit";
        Name = $"cpu {vectors}, {_team.Threads} thread{(_team.Threads == 1 ? "" : "s")}";
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public bool PrefersLogitsOnDemand => true;

    /// <inheritdoc/>
    public bool ExtendsDraftHeads => true;

    /// <summary>Whether the native library of CPU kernels is in use, and why not.</summary>
    public static string NativeKernelsNote => NativeKernels.Note;

    /// <summary>Whether this processor runs <paramref name="width"/> in hardware (scalar always).</summary>
    public static bool IsSupported(SimdWidth width) => KernelSet.IsSupported(width);

    /// <inheritdoc/>
    public TensorBuffer Allocate(long length, string purpose)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        return new CpuBuffer(length, purpose);
    }

    /// <inheritdoc/>
    public KvCache AllocateKvCache(int layers, int kvHeads, int headSize, int capacity, KvType type = KvType.F32)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(layers);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(kvHeads);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(headSize);
        ArgumentOutOfRangeException.ThrowIfNegative(capacity);
        return new CpuKvCache(layers, kvHeads, headSize, capacity, type);
    }

    /// <inheritdoc/>
    public long KvCacheBytes(int layers, int kvHeads, int headSize, int capacity, KvType type = KvType.F32) =>
        2L * CpuKvCache.BytesOf(type) * layers * kvHeads * capacity * SimdMath.PadLanes(headSize);

    /// <inheritdoc/>
    public Weight LoadWeight(TensorView view)
    {
        if (view.Type is TensorType.I64 or TensorType.U8)
        {
            throw new InputException($"{view.FilePath}: tensor {view.Name} has type {view.Type}, which is no weight type");
        }

        if (view.Columns % view.Type.BlockElements() != 0)
        {
            throw new InputException(
                $"{view.FilePath}: tensor {view.Name} has rows of {view.Columns} elements, but {view.Type} comes in blocks of {view.Type.BlockElements()}");
        }

        int interleaved = view.Shape.Count <= 1 ? view.Columns : view.Rows;
        if (view.InterleavedHeads != 0 && (view.InterleavedHeads < 0 || interleaved % (2 * (long)view.InterleavedHeads) != 0))
        {
            throw new InputException(
                $"{view.FilePath}: tensor {view.Name} has {interleaved} rows, which are not {view.InterleavedHeads} heads of an even size");
        }

        return new CpuWeight(view, Arena);
    }

    /// <inheritdoc/>
    public IDisposable CollectWeights(Action load) => WeightCollection.Run(ref t_collecting, new WeightGroup(this), load);

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_team.Gate)
        {
            if (_disposed)
            {
                return;
            }

            _disposed = true;
            _scratch.Dispose();
            _arena.Dispose();
        }

        _team.Dispose();
    }

    /// <summary>First element of a matrix that lies inside its buffer.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float* Data(Matrix matrix)
    {
        if (matrix.Buffer is not CpuBuffer buffer)
        {
            throw new ArgumentException("the matrix lies in no buffer of the CPU backend");
        }

        long last = matrix.Rows <= 0 ? 0 : ((long)(matrix.Rows - 1) * matrix.Stride) + matrix.Columns;
        if (matrix.Rows < 0 || matrix.Columns < 0 || matrix.Offset < 0 || last > buffer.Length - matrix.Offset
            || (matrix.Stride < matrix.Columns && matrix.Rows > 1))
        {
            ThrowOutside(matrix);
        }

        return buffer.Data + matrix.Offset;
    }

    private static void ThrowOutside(Matrix matrix) => throw new ArgumentException(
        $"a matrix [{matrix.Rows}, {matrix.Columns}] with stride {matrix.Stride} at {matrix.Offset} exceeds its buffer of {matrix.Buffer.Length} elements ({matrix.Buffer.Purpose})");

    private static void Expect(Matrix matrix, int rows, int columns, string what)
    {
        if (matrix.Rows != rows || matrix.Columns != columns)
        {
            throw new ArgumentException($"{what} is [{matrix.Rows}, {matrix.Columns}], expected [{rows}, {columns}]");
        }
    }

    private static void Check(bool holds, string message)
    {
        if (!holds)
        {
            throw new ArgumentException(message);
        }
    }

    private static CpuWeight Cpu(Weight weight) =>
        weight as CpuWeight ?? throw new ArgumentException($"weight {weight.Name} was not loaded by the CPU backend");

    private static float* Vector(Weight weight, int length, string what)
    {
        CpuWeight vector = Cpu(weight);
        if (vector.Rows != 1 || vector.Columns != length)
        {
            throw new ArgumentException($"{what} {weight.Name} is [{weight.Rows}, {weight.Columns}], expected [1, {length}]");
        }

        return vector.Vector;
    }

    private static CpuKvCache Cpu(KvCache cache) =>
        cache as CpuKvCache ?? throw new ArgumentException("the cache was not allocated by the CPU backend");

    /// <summary>Items to split <paramref name="units"/> pieces of work into, by what all of it costs.</summary>
    private int Items(int units, long bytes, long flops)
    {
        if (_team.Threads == 1)
        {
            return 1;
        }

        long worthwhile = Math.Max(bytes / BytesPerItem, flops / FlopsPerItem);
        int items = (int)Math.Clamp(Math.Min(worthwhile, (long)_team.Threads * ItemsPerThread), 1, Math.Max(1, units));

        // As many for each thread: seven equal items would keep two threads as long as eight.
        return items > _team.Threads ? items / _team.Threads * _team.Threads : items;
    }

    /// <summary>Runs a job over rows whose kernel needs no working memory.</summary>
    private void RunRows(delegate*<void*, int, int, void> kernel, ref RowsJob job, OperationCost cost)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        int items = Items(job.Rows, cost.Bytes, cost.Flops);
        job.RowsPerItem = Math.Max(1, (job.Rows + items - 1) / items);
        items = (job.Rows + job.RowsPerItem - 1) / job.RowsPerItem;
        fixed (RowsJob* pointer = &job)
        {
            Run(kernel, pointer, items);
        }
    }

    /// <summary>Runs items that need no working memory: a single one without waiting for other callers.</summary>
    private void Run(delegate*<void*, int, int, void> kernel, void* job, int items)
    {
        if (items <= 1)
        {
            if (items == 1)
            {
                kernel(job, 0, 0);
            }

            return;
        }

        lock (_team.Gate)
        {
            _team.Run(kernel, job, items);
        }
    }

    /// <summary>Bytes of repacked weights that live as long as the backend.</summary>
    internal long RepackedBytes => _arena.Bytes;

    /// <summary>Where weights that are loaded now on this thread are repacked to.</summary>
    private WeightArena Arena => t_collecting is { } group && group.Backend == this ? group.Arena : _arena;

    /// <summary>The repacked forms of weights that are freed together, before the backend is.</summary>
    private sealed class WeightGroup(CpuBackend backend) : IDisposable
    {
        public CpuBackend Backend { get; } = backend;

        public WeightArena Arena { get; } = new();

        public void Dispose()
        {
            lock (Backend._team.Gate)
            {
                Arena.Dispose();
            }
        }
    }
}

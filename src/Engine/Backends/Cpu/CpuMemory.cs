using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cpu;

/// <summary>A zeroed native block. Pages that are never touched cost no memory.</summary>
internal sealed unsafe class NativeBlock : SafeHandle
{
    private const int CacheLine = 64;

    private readonly int _alignment;

    /// <summary>Allocates <paramref name="bytes"/> bytes.</summary>
    /// <param name="bytes">How many.</param>
    /// <param name="purpose">What for, for the message.</param>
    /// <param name="alignment">What the address is a multiple of, a power of two; a cache line by default.</param>
    /// <exception cref="InputException">The memory is not there.</exception>
    public NativeBlock(long bytes, string purpose, int alignment = CacheLine)
        : base(0, ownsHandle: true)
    {
        _alignment = alignment;
        try
        {
            SetHandle((nint)NativeMemory.AllocZeroed(checked((nuint)(bytes + alignment))));
        }
        catch (Exception e) when (e is OutOfMemoryException or OverflowException)
        {
            throw new InputException($"{purpose} needs {bytes} bytes, which this machine cannot give; use a shorter context or a smaller model", e);
        }
    }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <summary>First byte; null after Dispose.</summary>
    public byte* Pointer => IsClosed ? null : (byte*)((handle + (_alignment - 1)) & ~(nint)(_alignment - 1));

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        NativeMemory.Free((void*)handle);
        return true;
    }
}

/// <summary>Activations in native memory.</summary>
internal sealed unsafe class CpuBuffer(long length, string purpose) : TensorBuffer(length, purpose)
{
    private readonly NativeBlock _block = new(length <= long.MaxValue / 8 ? length * sizeof(float) : long.MaxValue, purpose);

    /// <summary>First element.</summary>
    public float* Data
    {
        get
        {
            byte* pointer = _block.Pointer;
            ObjectDisposedException.ThrowIf(pointer is null, this);
            return (float*)pointer;
        }
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _block.Dispose();
        }
    }
}

/// <summary>
/// Keys and values [layers, kv heads, capacity rows, <see cref="RowSize"/>] as f32 or 16 bits, keys first, then values. A row's elements
/// beyond the head size stay zero, so kernels read whole vectors.
/// </summary>
internal sealed unsafe class CpuKvCache : KvCache
{
    private readonly NativeBlock _block;
    private readonly long _half;

    public CpuKvCache(int layers, int kvHeads, int headSize, int capacity, KvType type)
        : base(layers, kvHeads, headSize, capacity)
    {
        Type = type;
        RowSize = SimdMath.PadLanes(headSize);
        string purpose = $"a key/value cache of {capacity} rows ({layers} layers, {kvHeads} heads of {headSize})";
        try
        {
            HeadStride = checked((long)capacity * RowSize);
            _half = checked(layers * kvHeads * HeadStride * ElementBytes);
            _block = new NativeBlock(checked(2 * _half), purpose);
        }
        catch (OverflowException e)
        {
            throw new InputException($"{purpose} is larger than any address space; use a shorter context", e);
        }
    }

    /// <summary>How elements are stored.</summary>
    public KvType Type { get; }

    /// <summary>Bytes of an element.</summary>
    public int ElementBytes => BytesOf(Type);

    /// <summary>Whether every half that was ever stored is finite, which kernels may then take for granted. A sticky note: rows that go do not restore it.</summary>
    public bool IsFinite { get; private set; } = true;

    /// <summary>Elements from one row of a head to the next: the head size rounded up to whole vectors.</summary>
    public int RowSize { get; }

    /// <summary>Elements from one head of a layer to the next.</summary>
    public long HeadStride { get; }

    /// <summary>Keys [kv heads, capacity, RowSize] of a layer.</summary>
    public byte* Keys(int layer) => Base() + (layer * KvHeads * HeadStride * ElementBytes);

    /// <summary>Values [kv heads, capacity, RowSize] of a layer.</summary>
    public byte* Values(int layer) => Keys(layer) + _half;

    /// <summary>Bytes of an element of <paramref name="type"/>.</summary>
    public static int BytesOf(KvType type) => type == KvType.F32 ? sizeof(float) : sizeof(ushort);

    /// <summary>Stores one head's <see cref="KvCache.HeadSize"/> values, rounded to the cache's type.</summary>
    public void Store(float* values, byte* destination)
    {
        switch (Type)
        {
            case KvType.F32:
                Unsafe.CopyBlockUnaligned(destination, values, (uint)(HeadSize * sizeof(float)));
                break;
            case KvType.F16:
                IsFinite &= HalfConversion.ToHalf(values, (ushort*)destination, HeadSize);
                break;
            default:
                HalfConversion.ToBFloat16(values, (ushort*)destination, HeadSize);
                break;
        }
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _block.Dispose();
        }
    }

    private byte* Base()
    {
        byte* pointer = _block.Pointer;
        ObjectDisposedException.ThrowIf(pointer is null, this);
        return pointer;
    }
}

/// <summary>
/// Memory that the threads of a team work in, one equal part each, and one part that they all read. Grows when asked for more,
/// never shrinks; belongs to whoever holds the team's gate.
/// </summary>
internal sealed unsafe class Scratch(int threads) : IDisposable
{
    private NativeBlock? _perThread, _shared;
    private long _sharedBytes;

    /// <summary>Bytes from one thread's part to the next.</summary>
    public long ThreadStride { get; private set; }

    /// <summary>First thread's part, at least <paramref name="bytes"/> bytes per thread.</summary>
    public byte* PerThread(long bytes)
    {
        if (bytes > ThreadStride)
        {
            long stride = Grown(bytes, ThreadStride);
            NativeBlock grown = new(stride * threads, "working memory of the CPU backend");
            _perThread?.Dispose();
            _perThread = grown;
            ThreadStride = stride;
        }

        return _perThread is null ? null : _perThread.Pointer;
    }

    /// <summary>The part that all threads read, at least <paramref name="bytes"/> bytes.</summary>
    public byte* Shared(long bytes)
    {
        if (bytes > _sharedBytes)
        {
            long size = Grown(bytes, _sharedBytes);
            NativeBlock grown = new(size, "working memory of the CPU backend");
            _shared?.Dispose();
            _shared = grown;
            _sharedBytes = size;
        }

        return _shared is null ? null : _shared.Pointer;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _perThread?.Dispose();
        _shared?.Dispose();
        _perThread = _shared = null;
        ThreadStride = _sharedBytes = 0;
    }

    // Page-sized steps; the odd line keeps the threads' parts from meeting in the same cache sets.
    private static long Grown(long bytes, long present) => (Math.Max(bytes, present * 2) + 4095) / 4096 * 4096 + 64;
}

using LowLevelSpec.Interop.Cuda;
using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends.Cuda;

/// <summary>Activations in device memory.</summary>
internal sealed class CudaBuffer : TensorBuffer
{
    private readonly DeviceMemory _memory;

    /// <exception cref="InputException">The device has not that much memory.</exception>
    public CudaBuffer(CudaContext context, CudaStream stream, long length, string purpose)
        : base(length, purpose)
    {
        _memory = DeviceBlocks.Zeroed(context, stream, length, sizeof(float), purpose);
    }

    /// <summary>Address of the first element.</summary>
    public ulong Address => _memory.Address;

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _memory.Dispose();
        }
    }
}

/// <summary>Keys and values as bf16 [layers, kv heads, capacity, <see cref="RowSize"/>], keys first, then values. Elements beyond the head size stay zero.</summary>
internal sealed class CudaKvCache : KvCache
{
    private readonly DeviceMemory _memory;

    /// <exception cref="InputException">The device has not that much memory.</exception>
    public CudaKvCache(CudaContext context, CudaStream stream, int layers, int kvHeads, int headSize, int capacity)
        : base(layers, kvHeads, headSize, capacity)
    {
        RowSize = RowSizeOf(headSize);
        string purpose = $"a key/value cache of {capacity} rows ({layers} layers, {kvHeads} heads of {headSize})";
        try
        {
            HalfBytes = checked(sizeof(ushort) * (long)layers * kvHeads * capacity * RowSize);
        }
        catch (OverflowException e)
        {
            throw new InputException($"{purpose} is larger than any address space; use a shorter context", e);
        }

        _memory = DeviceBlocks.Zeroed(context, stream, HalfBytes, 2, purpose);
    }

    /// <summary>Elements from one row of a head to the next: whole 16-byte pieces.</summary>
    public int RowSize { get; }

    /// <summary>Bytes of all keys.</summary>
    public long HalfBytes { get; }

    /// <summary>Keys of layer 0.</summary>
    public ulong Keys => _memory.Address;

    /// <summary>Values of layer 0.</summary>
    public ulong Values => _memory.Address + (ulong)HalfBytes;

    /// <summary><see cref="RowSize"/> for heads of <paramref name="headSize"/> elements.</summary>
    public static int RowSizeOf(int headSize) => (headSize + 7) / 8 * 8;

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _memory.Dispose();
        }
    }
}

/// <summary>Allocations whose failure is the user's to know.</summary>
internal static class DeviceBlocks
{
    /// <summary>Allocates.</summary>
    /// <exception cref="InputException">The device has not that much memory; the message names what it was for.</exception>
    public static DeviceMemory Allocate(CudaContext context, long count, int size, string purpose)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        if (count > long.MaxValue / size)
        {
            throw new InputException($"{purpose} needs {count} elements of {size} bytes, more than any device has; use a shorter context or a smaller model");
        }

        try
        {
            return new DeviceMemory(context, count * size, purpose);
        }
        catch (CudaException e) when (e.IsOutOfMemory)
        {
            (long free, long total) = context.Memory;
            throw new InputException(
                $"{purpose} needs {count * size} bytes, and {context.Device.Name} has {free} of its {total} bytes free; use a shorter context, a smaller model or --device cpu", e);
        }
    }

    /// <summary>Allocates memory that is zero for whatever the stream does from now on.</summary>
    /// <exception cref="InputException">The device has not that much memory.</exception>
    public static DeviceMemory Zeroed(CudaContext context, CudaStream stream, long count, int size, string purpose)
    {
        DeviceMemory memory = Allocate(context, count, size, purpose);
        stream.Clear(memory.Address, memory.Bytes);
        return memory;
    }
}

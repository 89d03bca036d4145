using System.Runtime.InteropServices;
using LowLevelSpec.Interop.Cuda;

namespace LowLevelSpec.Engine.Backends.Cuda;

/// <summary>
/// Small host data on its way to the device: pinned memory and its twin on the device, used piece by piece. When the end is reached the device is waited
/// for and the ring starts over, so a piece stays as it is until the work enqueued before the next round is done.
/// </summary>
internal sealed unsafe class UploadRing(CudaContext context, CudaStream stream) : IDisposable
{
    private const long SmallestBytes = 1 << 20;

    private PinnedMemory? _host;
    private DeviceMemory? _device;
    private long _used;

    /// <summary>Changes whenever earlier pieces become invalid.</summary>
    public int Round { get; private set; }

    /// <summary>Whether a recording is under way: what it uploaded would be read again, long after it has changed.</summary>
    public bool IsClosed { get; set; }

    /// <summary>Copies values to the device.</summary>
    /// <returns>Their address there, aligned to 16 bytes, valid while <see cref="Round"/> stays the same.</returns>
    public ulong Upload<T>(ReadOnlySpan<T> values)
        where T : unmanaged
    {
        long bytes = (long)values.Length * sizeof(T);
        Reserve(bytes);
        long at = _used;
        MemoryMarshal.AsBytes(values).CopyTo(new Span<byte>(_host!.Pointer + at, (int)bytes));
        ulong address = _device!.Address + (ulong)at;
        stream.CopyToDevice(address, (nint)(_host.Pointer + at), bytes);
        _used = (at + bytes + 15) / 16 * 16;
        return address;
    }

    /// <summary>Makes room for <paramref name="bytes"/> in one round, so that several uploads stay valid together.</summary>
    public void Reserve(long bytes)
    {
        if (IsClosed)
        {
            throw new InvalidOperationException("a recorded cycle takes nothing from the host");
        }

        long capacity = _host?.Bytes ?? 0;
        if (_used + bytes <= capacity)
        {
            return;
        }

        stream.Synchronize();
        if (bytes > capacity)
        {
            Dispose();
            long size = Math.Max(SmallestBytes, bytes * 2);
            _host = new PinnedMemory(context, size, "uploads");
            _device = DeviceBlocks.Allocate(context, size, 1, "uploads");
        }

        _used = 0;
        Round++;
    }

    public void Dispose()
    {
        _host?.Dispose();
        _device?.Dispose();
        (_host, _device) = (null, null);
    }
}

namespace LowLevelSpec.Interop.Cuda;

/// <summary>Memory of the device.</summary>
internal sealed class DeviceMemory : CudaHandle
{
    /// <summary>Allocates; the content is undefined.</summary>
    /// <param name="context">Where.</param>
    /// <param name="bytes">Size; 0 takes the smallest piece.</param>
    /// <param name="purpose">Named in the error where memory runs out.</param>
    /// <exception cref="CudaException">The device has not that much.</exception>
    public DeviceMemory(CudaContext context, long bytes, string purpose)
        : base(context)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        Bytes = bytes;
        int status = Driver.MemoryAllocate(out ulong address, (nuint)Math.Max(1, bytes));
        Adopt((nint)address, status, $"allocate {bytes} bytes on the device for {purpose}");
    }

    /// <summary>Size.</summary>
    public long Bytes { get; }

    /// <summary>First byte, an address of the device.</summary>
    /// <exception cref="ObjectDisposedException">Disposed.</exception>
    public ulong Address => (ulong)Value;

    /// <inheritdoc/>
    protected override int Free(ICudaDriver driver, nint value) => driver.MemoryFree((ulong)value);
}

/// <summary>Memory of the host that the device copies from and to without an intermediate copy.</summary>
internal sealed unsafe class PinnedMemory : CudaHandle
{
    /// <summary>Allocates; the content is undefined.</summary>
    /// <exception cref="CudaException">The machine has not that much to pin.</exception>
    public PinnedMemory(CudaContext context, long bytes, string purpose)
        : base(context)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(bytes);
        Bytes = bytes;
        int status = Driver.HostAllocate(out nint memory, (nuint)bytes);
        Adopt(memory, status, $"pin {bytes} bytes of the host's memory for {purpose}");
    }

    /// <summary>Size.</summary>
    public long Bytes { get; }

    /// <summary>First byte.</summary>
    /// <exception cref="ObjectDisposedException">Disposed.</exception>
    public byte* Pointer => (byte*)Value;

    /// <inheritdoc/>
    protected override int Free(ICudaDriver driver, nint value) => driver.HostFree(value);
}

using System.Text;

namespace LowLevelSpec.Interop.Cuda;

/// <summary>
/// A device's primary context, retained. Every operation on what lives in it makes it current on the calling thread, so objects may be used from any
/// thread; each by one at a time.
/// </summary>
internal sealed class CudaContext : DisposableHandle
{
    private readonly int _device;

    /// <summary>Opens a device.</summary>
    /// <exception cref="CudaException">There is no such device, or its context can't be made.</exception>
    public CudaContext(ICudaDriver driver, int device)
    {
        (Driver, _device) = (driver, device);
        Check(driver.Initialize(), "initialise the CUDA driver");
        Check(driver.DeviceCount(out int count), "count the CUDA devices");
        if ((uint)device >= (uint)count)
        {
            throw new CudaException($"open CUDA device {device}", "no such device", 0, $"there {(count == 1 ? "is 1 device" : $"are {count} devices")}, counted from 0");
        }

        Check(driver.PrimaryContextRetain(out nint context, device), $"open CUDA device {device}");
        SetHandle(context);
        Device = CudaDevice.Describe(driver, device);
    }

    /// <summary>What the device is.</summary>
    public CudaDevice Device { get; }

    /// <summary>The driver.</summary>
    public ICudaDriver Driver { get; }

    /// <summary>Free and total bytes of the device's memory.</summary>
    public (long Free, long Total) Memory
    {
        get
        {
            Check(Enter().MemoryInfo(out nuint free, out nuint total), "ask for the free memory");
            return ((long)free, (long)total);
        }
    }

    /// <summary>Makes the context current on this thread.</summary>
    /// <exception cref="ObjectDisposedException">Disposed.</exception>
    public ICudaDriver Enter()
    {
        ObjectDisposedException.ThrowIf(IsDisposed, this);
        return EnterToRelease();
    }

    /// <summary>The same for whoever frees: what lives in the context holds it, also after its Dispose.</summary>
    public ICudaDriver EnterToRelease()
    {
        _ = Driver.ContextSetCurrent(handle);
        return Driver;
    }

    /// <summary>Throws where a result is an error.</summary>
    /// <param name="status">The driver's result.</param>
    /// <param name="operation">What was being done, with sizes.</param>
    public void Check(int status, string operation)
    {
        if (status != CudaStatus.Success)
        {
            Throw(Driver, status, operation);
        }
    }

    internal static void Throw(ICudaDriver driver, int status, string operation)
    {
        (string name, string text) = driver.Describe(status);
        throw new CudaException(operation, name.Length == 0 ? "CUDA error" : name, status, text);
    }

    /// <inheritdoc/>
    protected override bool ReleaseHandle() => Driver.PrimaryContextRelease(_device) == CudaStatus.Success;
}

/// <summary>What a CUDA device is.</summary>
/// <param name="Ordinal">Its number.</param>
/// <param name="Name">Its name.</param>
/// <param name="Major">Compute capability, before the point.</param>
/// <param name="Minor">Compute capability, after the point.</param>
/// <param name="Processors">Streaming multiprocessors.</param>
/// <param name="Bytes">Memory.</param>
/// <param name="SharedBytes">Most shared memory of a block.</param>
internal sealed record CudaDevice(int Ordinal, string Name, int Major, int Minor, int Processors, long Bytes, int SharedBytes)
{
    // Numbers of CUdevice_attribute.
    private const int ProcessorCount = 16, MajorCapability = 75, MinorCapability = 76, SharedPerBlock = 97;

    /// <summary>Asks the driver.</summary>
    /// <exception cref="CudaException">It does not answer.</exception>
    public static CudaDevice Describe(ICudaDriver driver, int device)
    {
        Span<byte> name = stackalloc byte[256];
        string what = $"describe CUDA device {device}";
        Require(driver.DeviceName(name, device));
        Require(driver.DeviceMemory(out nuint bytes, device));
        int end = name.IndexOf((byte)0);
        return new CudaDevice(
            device, Encoding.UTF8.GetString(end < 0 ? name : name[..end]), Attribute(MajorCapability), Attribute(MinorCapability), Attribute(ProcessorCount), (long)bytes, Attribute(SharedPerBlock));

        int Attribute(int attribute)
        {
            Require(driver.DeviceAttribute(out int value, attribute, device));
            return value;
        }

        void Require(int status)
        {
            if (status != CudaStatus.Success)
            {
                CudaContext.Throw(driver, status, what);
            }
        }
    }
}

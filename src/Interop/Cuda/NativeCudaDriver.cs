using System.Runtime.InteropServices;

namespace LowLevelSpec.Interop.Cuda;

/// <summary>The driver's own library, or the emulated one, which has the same signatures. A process uses one of them: the first asked for.</summary>
internal sealed unsafe partial class NativeCudaDriver : ICudaDriver
{
    private const string Cuda = "llspec-cuda-driver";
    // Memory may be allocated while a stream captures; nothing captured depends on it before its allocation.
    private const uint RelaxedCapture = 2;
    private const uint NonBlockingStream = 1;
    private const uint UntimedEvent = 2;

    private static readonly Lock Gate = new();
    private static NativeCudaDriver? _instance;
    private static string? _asked;

    private NativeCudaDriver(string library) => Library = library;

    /// <inheritdoc/>
    public string Library { get; }

    /// <summary>Whether this is the emulated device's library.</summary>
    public bool IsEmulated => NativeLibraries.Exports(Cuda, "llspec_emulated_counts");

    /// <summary>Opens the library.</summary>
    /// <param name="path">A library's path, or null for the system's driver.</param>
    /// <returns>Null where it is not there.</returns>
    /// <exception cref="CudaException">This process already uses another one.</exception>
    public static NativeCudaDriver? Open(string? path)
    {
        lock (Gate)
        {
            string asked = path ?? "";
            if (_asked is not null && _asked != asked)
            {
                throw new CudaException(
                    $"load {(path is null ? "the CUDA driver" : path)}", "driver chosen", 0, $"this process already uses {(_asked.Length == 0 ? "the system's driver" : _asked)}; start another one");
            }

            if (_instance is null && NativeLibraries.Load(Cuda, path is null ? SystemNames : [path]) is string library)
            {
                (_instance, _asked) = (new NativeCudaDriver(library), asked);
            }

            return _instance;
        }
    }

    private static string[] SystemNames => OperatingSystem.IsWindows() ? ["nvcuda.dll"] : ["libcuda.so.1", "libcuda.so"];

    /// <summary>What the emulated device counted since it was loaded.</summary>
    /// <exception cref="EntryPointNotFoundException">This is a real driver.</exception>
    public EmulatedCounts Counts()
    {
        llspec_emulated_counts(out EmulatedCounts counts);
        return counts;
    }

    /// <summary>Sets the emulated device's order of threads and whether fresh memory holds NaN.</summary>
    /// <exception cref="EntryPointNotFoundException">This is a real driver.</exception>
    public void Configure(ulong seed, bool poison) => llspec_emulated_configure(seed, poison ? 1 : 0);

    /// <inheritdoc/>
    public int Initialize() => cuInit(0);

    /// <inheritdoc/>
    public int GetVersion(out int version) => cuDriverGetVersion(out version);

    /// <inheritdoc/>
    public (string Name, string Text) Describe(int status)
    {
        string name = cuGetErrorName(status, out nint text) == CudaStatus.Success ? Marshal.PtrToStringUTF8(text) ?? "" : "";
        return (name, cuGetErrorString(status, out text) == CudaStatus.Success ? Marshal.PtrToStringUTF8(text) ?? "" : "");
    }

    /// <inheritdoc/>
    public int DeviceCount(out int count) => cuDeviceGetCount(out count);

    /// <inheritdoc/>
    public int DeviceName(Span<byte> name, int device)
    {
        fixed (byte* to = name)
        {
            return cuDeviceGetName(to, name.Length, device);
        }
    }

    /// <inheritdoc/>
    public int DeviceMemory(out nuint bytes, int device) => cuDeviceTotalMem_v2(out bytes, device);

    /// <inheritdoc/>
    public int DeviceAttribute(out int value, int attribute, int device) => cuDeviceGetAttribute(out value, attribute, device);

    /// <inheritdoc/>
    public int PrimaryContextRetain(out nint context, int device) => cuDevicePrimaryCtxRetain(out context, device);

    /// <inheritdoc/>
    public int PrimaryContextRelease(int device) => cuDevicePrimaryCtxRelease_v2(device);

    /// <inheritdoc/>
    public int ContextSetCurrent(nint context) => cuCtxSetCurrent(context);

    /// <inheritdoc/>
    public int MemoryInfo(out nuint free, out nuint total) => cuMemGetInfo_v2(out free, out total);

    /// <inheritdoc/>
    public int MemoryAllocate(out ulong address, nuint bytes) => cuMemAlloc_v2(out address, bytes);

    /// <inheritdoc/>
    public int MemoryFree(ulong address) => cuMemFree_v2(address);

    /// <inheritdoc/>
    public int HostAllocate(out nint memory, nuint bytes) => cuMemHostAlloc(out memory, bytes, 0);

    /// <inheritdoc/>
    public int HostFree(nint memory) => cuMemFreeHost(memory);

    /// <inheritdoc/>
    public int CopyToDevice(ulong to, nint from, nuint bytes, nint stream) => cuMemcpyHtoDAsync_v2(to, from, bytes, stream);

    /// <inheritdoc/>
    public int CopyToHost(nint to, ulong from, nuint bytes, nint stream) => cuMemcpyDtoHAsync_v2(to, from, bytes, stream);

    /// <inheritdoc/>
    public int CopyOnDevice(ulong to, ulong from, nuint bytes, nint stream) => cuMemcpyDtoDAsync_v2(to, from, bytes, stream);

    /// <inheritdoc/>
    public int Fill8(ulong to, byte value, nuint count, nint stream) => cuMemsetD8Async(to, value, count, stream);

    /// <inheritdoc/>
    public int ModuleLoad(out nint module, ReadOnlySpan<byte> image)
    {
        fixed (byte* pointer = image)
        {
            return cuModuleLoadData(out module, (nint)pointer);
        }
    }

    /// <inheritdoc/>
    public int ModuleUnload(nint module) => cuModuleUnload(module);

    /// <inheritdoc/>
    public int ModuleFunction(out nint function, nint module, string name) => cuModuleGetFunction(out function, module, name);

    /// <inheritdoc/>
    public int FunctionAttribute(out int value, int attribute, nint function) => cuFuncGetAttribute(out value, attribute, function);

    /// <inheritdoc/>
    public int SetFunctionAttribute(nint function, int attribute, int value) => cuFuncSetAttribute(function, attribute, value);

    /// <inheritdoc/>
    public int Launch(nint function, Grid grid, int threads, int sharedBytes, nint stream, nint argument)
    {
        void* arguments = (void*)argument;
        return cuLaunchKernel(function, (uint)grid.X, (uint)grid.Y, (uint)grid.Z, (uint)threads, 1, 1, (uint)sharedBytes, stream, &arguments, null);
    }

    /// <inheritdoc/>
    public int StreamCreate(out nint stream) => cuStreamCreate(out stream, NonBlockingStream);

    /// <inheritdoc/>
    public int StreamDestroy(nint stream) => cuStreamDestroy_v2(stream);

    /// <inheritdoc/>
    public int StreamSynchronize(nint stream) => cuStreamSynchronize(stream);

    /// <inheritdoc/>
    public int StreamBeginCapture(nint stream) => cuStreamBeginCapture_v2(stream, RelaxedCapture);

    /// <inheritdoc/>
    public int StreamEndCapture(nint stream, out nint graph) => cuStreamEndCapture(stream, out graph);

    /// <inheritdoc/>
    public int StreamWait(nint stream, nint @event) => cuStreamWaitEvent(stream, @event, 0);

    /// <inheritdoc/>
    public int EventCreate(out nint @event, bool timed) => cuEventCreate(out @event, timed ? 0 : UntimedEvent);

    /// <inheritdoc/>
    public int EventDestroy(nint @event) => cuEventDestroy_v2(@event);

    /// <inheritdoc/>
    public int EventRecord(nint @event, nint stream) => cuEventRecord(@event, stream);

    /// <inheritdoc/>
    public int EventSynchronize(nint @event) => cuEventSynchronize(@event);

    /// <inheritdoc/>
    public int EventElapsed(out float milliseconds, nint first, nint second) => cuEventElapsedTime(out milliseconds, first, second);

    /// <inheritdoc/>
    public int GraphDestroy(nint graph) => cuGraphDestroy(graph);

    /// <inheritdoc/>
    public int GraphNodes(out int count, nint graph)
    {
        int status = cuGraphGetNodes(graph, 0, out nuint nodes);
        count = (int)nodes;
        return status;
    }

    /// <inheritdoc/>
    public int GraphInstantiate(out nint exec, nint graph) => cuGraphInstantiateWithFlags(out exec, graph, 0);

    /// <inheritdoc/>
    public int GraphExecDestroy(nint exec) => cuGraphExecDestroy(exec);

    /// <inheritdoc/>
    public int GraphLaunch(nint exec, nint stream) => cuGraphLaunch(exec, stream);

    [LibraryImport(Cuda)]
    private static partial int cuInit(uint flags);

    [LibraryImport(Cuda)]
    private static partial int cuDriverGetVersion(out int version);

    [LibraryImport(Cuda)]
    private static partial int cuGetErrorName(int status, out nint text);

    [LibraryImport(Cuda)]
    private static partial int cuGetErrorString(int status, out nint text);

    [LibraryImport(Cuda)]
    private static partial int cuDeviceGetCount(out int count);

    [LibraryImport(Cuda)]
    private static partial int cuDeviceGetName(byte* name, int length, int device);

    [LibraryImport(Cuda)]
    private static partial int cuDeviceTotalMem_v2(out nuint bytes, int device);

    [LibraryImport(Cuda)]
    private static partial int cuDeviceGetAttribute(out int value, int attribute, int device);

    [LibraryImport(Cuda)]
    private static partial int cuDevicePrimaryCtxRetain(out nint context, int device);

    [LibraryImport(Cuda)]
    private static partial int cuDevicePrimaryCtxRelease_v2(int device);

    [LibraryImport(Cuda)]
    private static partial int cuCtxSetCurrent(nint context);

    [LibraryImport(Cuda)]
    private static partial int cuMemGetInfo_v2(out nuint free, out nuint total);

    [LibraryImport(Cuda)]
    private static partial int cuMemAlloc_v2(out ulong address, nuint bytes);

    [LibraryImport(Cuda)]
    private static partial int cuMemFree_v2(ulong address);

    [LibraryImport(Cuda)]
    private static partial int cuMemHostAlloc(out nint memory, nuint bytes, uint flags);

    [LibraryImport(Cuda)]
    private static partial int cuMemFreeHost(nint memory);

    [LibraryImport(Cuda)]
    private static partial int cuMemcpyHtoDAsync_v2(ulong to, nint from, nuint bytes, nint stream);

    [LibraryImport(Cuda)]
    private static partial int cuMemcpyDtoHAsync_v2(nint to, ulong from, nuint bytes, nint stream);

    [LibraryImport(Cuda)]
    private static partial int cuMemcpyDtoDAsync_v2(ulong to, ulong from, nuint bytes, nint stream);

    [LibraryImport(Cuda)]
    private static partial int cuMemsetD8Async(ulong to, byte value, nuint count, nint stream);

    [LibraryImport(Cuda)]
    private static partial int cuModuleLoadData(out nint module, nint image);

    [LibraryImport(Cuda)]
    private static partial int cuModuleUnload(nint module);

    [LibraryImport(Cuda, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int cuModuleGetFunction(out nint function, nint module, string name);

    [LibraryImport(Cuda)]
    private static partial int cuFuncGetAttribute(out int value, int attribute, nint function);

    [LibraryImport(Cuda)]
    private static partial int cuFuncSetAttribute(nint function, int attribute, int value);

    [LibraryImport(Cuda)]
    private static partial int cuLaunchKernel(
        nint function, uint gridX, uint gridY, uint gridZ, uint blockX, uint blockY, uint blockZ, uint sharedBytes, nint stream, void** arguments, void** extra);

    [LibraryImport(Cuda)]
    private static partial int cuStreamCreate(out nint stream, uint flags);

    [LibraryImport(Cuda)]
    private static partial int cuStreamDestroy_v2(nint stream);

    [LibraryImport(Cuda)]
    private static partial int cuStreamSynchronize(nint stream);

    [LibraryImport(Cuda)]
    private static partial int cuStreamBeginCapture_v2(nint stream, uint mode);

    [LibraryImport(Cuda)]
    private static partial int cuStreamEndCapture(nint stream, out nint graph);

    [LibraryImport(Cuda)]
    private static partial int cuStreamWaitEvent(nint stream, nint @event, uint flags);

    [LibraryImport(Cuda)]
    private static partial int cuEventCreate(out nint @event, uint flags);

    [LibraryImport(Cuda)]
    private static partial int cuEventDestroy_v2(nint @event);

    [LibraryImport(Cuda)]
    private static partial int cuEventRecord(nint @event, nint stream);

    [LibraryImport(Cuda)]
    private static partial int cuEventSynchronize(nint @event);

    [LibraryImport(Cuda)]
    private static partial int cuEventElapsedTime(out float milliseconds, nint first, nint second);

    [LibraryImport(Cuda)]
    private static partial int cuGraphDestroy(nint graph);

    [LibraryImport(Cuda)]
    private static partial int cuGraphGetNodes(nint graph, nint nodes, out nuint count);

    [LibraryImport(Cuda)]
    private static partial int cuGraphInstantiateWithFlags(out nint exec, nint graph, ulong flags);

    [LibraryImport(Cuda)]
    private static partial int cuGraphExecDestroy(nint exec);

    [LibraryImport(Cuda)]
    private static partial int cuGraphLaunch(nint exec, nint stream);

    [LibraryImport(Cuda)]
    private static partial void llspec_emulated_counts(out EmulatedCounts counts);

    [LibraryImport(Cuda)]
    private static partial void llspec_emulated_configure(ulong seed, int poison);
}

/// <summary>What is alive on the emulated device, and what has happened since it was loaded (llspec_emulated.h).</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct EmulatedCounts
{
    public long DeviceAllocations, DeviceBytes, HostAllocations, HostBytes, Streams, Events, Graphs, GraphExecs, Modules, Contexts, Launches, GraphLaunches, HostSynchronisations, CublasHandles, CublasProducts;
}

using System.Runtime.InteropServices;
using LowLevelSpec.Interop.Cuda;
using ManagedCuda;
using ManagedCuda.BasicTypes;
using Events = ManagedCuda.DriverAPINativeMethods.Events;
using Graphs = ManagedCuda.DriverAPINativeMethods.GraphManagment;
using Memory = ManagedCuda.DriverAPINativeMethods.MemoryManagement;
using Modules = ManagedCuda.DriverAPINativeMethods.ModuleManagement;
using Streams = ManagedCuda.DriverAPINativeMethods.Streams;

namespace LowLevelSpec.Interop.ManagedCuda;

/// <summary>The driver through ManagedCuda's bindings instead of the library's own. Everything above <see cref="ICudaDriver"/> is the same.</summary>
internal sealed unsafe class ManagedCudaDriver : ICudaDriver
{
    /// <inheritdoc/>
    public string Library => "ManagedCuda";

    /// <inheritdoc/>
    public int Initialize() => (int)DriverAPINativeMethods.cuInit(CUInitializationFlags.None);

    /// <inheritdoc/>
    public int GetVersion(out int version)
    {
        version = 0;
        return (int)DriverAPINativeMethods.cuDriverGetVersion(ref version);
    }

    /// <inheritdoc/>
    public (string Name, string Text) Describe(int status)
    {
        IntPtr text = 0;
        string name = DriverAPINativeMethods.ErrorHandling.cuGetErrorName((CUResult)status, ref text) == CUResult.Success ? Marshal.PtrToStringUTF8(text) ?? "" : "";
        return (name, DriverAPINativeMethods.ErrorHandling.cuGetErrorString((CUResult)status, ref text) == CUResult.Success ? Marshal.PtrToStringUTF8(text) ?? "" : "");
    }

    /// <inheritdoc/>
    public int DeviceCount(out int count)
    {
        count = 0;
        return (int)DriverAPINativeMethods.DeviceManagement.cuDeviceGetCount(ref count);
    }

    /// <inheritdoc/>
    public int DeviceName(Span<byte> name, int device)
    {
        byte[] copy = new byte[name.Length];
        int status = (int)DriverAPINativeMethods.DeviceManagement.cuDeviceGetName(copy, copy.Length, Device(device));
        copy.CopyTo(name);
        return status;
    }

    /// <inheritdoc/>
    public int DeviceMemory(out nuint bytes, int device)
    {
        SizeT size = 0;
        int status = (int)DriverAPINativeMethods.DeviceManagement.cuDeviceTotalMem_v2(ref size, Device(device));
        bytes = (nuint)(ulong)size;
        return status;
    }

    /// <inheritdoc/>
    public int DeviceAttribute(out int value, int attribute, int device)
    {
        value = 0;
        return (int)DriverAPINativeMethods.DeviceManagement.cuDeviceGetAttribute(ref value, (CUDeviceAttribute)attribute, Device(device));
    }

    /// <inheritdoc/>
    public int PrimaryContextRetain(out nint context, int device)
    {
        CUcontext made = default;
        int status = (int)DriverAPINativeMethods.ContextManagement.cuDevicePrimaryCtxRetain(ref made, Device(device));
        context = made.Pointer;
        return status;
    }

    /// <inheritdoc/>
    public int PrimaryContextRelease(int device) => (int)DriverAPINativeMethods.ContextManagement.cuDevicePrimaryCtxRelease(Device(device));

    /// <inheritdoc/>
    public int ContextSetCurrent(nint context) => (int)DriverAPINativeMethods.ContextManagement.cuCtxSetCurrent(new CUcontext { Pointer = context });

    /// <inheritdoc/>
    public int MemoryInfo(out nuint free, out nuint total)
    {
        SizeT f = 0, t = 0;
        int status = (int)Memory.cuMemGetInfo_v2(ref f, ref t);
        (free, total) = ((nuint)(ulong)f, (nuint)(ulong)t);
        return status;
    }

    /// <inheritdoc/>
    public int MemoryAllocate(out ulong address, nuint bytes)
    {
        CUdeviceptr made = default;
        int status = (int)Memory.cuMemAlloc_v2(ref made, (ulong)bytes);
        address = made.Pointer;
        return status;
    }

    /// <inheritdoc/>
    public int MemoryFree(ulong address) => (int)Memory.cuMemFree_v2(At(address));

    /// <inheritdoc/>
    public int HostAllocate(out nint memory, nuint bytes)
    {
        memory = 0;
        return (int)Memory.cuMemHostAlloc(ref memory, (ulong)bytes, 0);
    }

    /// <inheritdoc/>
    public int HostFree(nint memory) => (int)Memory.cuMemFreeHost(memory);

    /// <inheritdoc/>
    public int CopyToDevice(ulong to, nint from, nuint bytes, nint stream) =>
        (int)DriverAPINativeMethods.AsynchronousMemcpy_v2.cuMemcpyHtoDAsync_v2(At(to), from, (ulong)bytes, On(stream));

    /// <inheritdoc/>
    public int CopyToHost(nint to, ulong from, nuint bytes, nint stream) =>
        (int)DriverAPINativeMethods.AsynchronousMemcpy_v2.cuMemcpyDtoHAsync_v2(to, At(from), (ulong)bytes, On(stream));

    /// <inheritdoc/>
    public int CopyOnDevice(ulong to, ulong from, nuint bytes, nint stream) =>
        (int)DriverAPINativeMethods.AsynchronousMemcpy_v2.cuMemcpyDtoDAsync_v2(At(to), At(from), (ulong)bytes, On(stream));

    /// <inheritdoc/>
    public int Fill8(ulong to, byte value, nuint count, nint stream) => (int)DriverAPINativeMethods.MemsetAsync.cuMemsetD8Async(At(to), value, (ulong)count, On(stream));

    /// <inheritdoc/>
    public int ModuleLoad(out nint module, ReadOnlySpan<byte> image)
    {
        CUmodule made = default;
        int status = (int)Modules.cuModuleLoadData(ref made, image.ToArray());
        module = made.Pointer;
        return status;
    }

    /// <inheritdoc/>
    public int ModuleUnload(nint module) => (int)Modules.cuModuleUnload(new CUmodule { Pointer = module });

    /// <inheritdoc/>
    public int ModuleFunction(out nint function, nint module, string name)
    {
        CUfunction made = default;
        int status = (int)Modules.cuModuleGetFunction(ref made, new CUmodule { Pointer = module }, name);
        function = made.Pointer;
        return status;
    }

    /// <inheritdoc/>
    public int FunctionAttribute(out int value, int attribute, nint function)
    {
        value = 0;
        return (int)DriverAPINativeMethods.FunctionManagement.cuFuncGetAttribute(ref value, (CUFunctionAttribute)attribute, new CUfunction { Pointer = function });
    }

    /// <inheritdoc/>
    public int SetFunctionAttribute(nint function, int attribute, int value) =>
        (int)DriverAPINativeMethods.FunctionManagement.cuFuncSetAttribute(new CUfunction { Pointer = function }, (CUFunctionAttribute)attribute, value);

    /// <inheritdoc/>
    public int Launch(nint function, Grid grid, int threads, int sharedBytes, nint stream, nint argument) => (int)DriverAPINativeMethods.Launch.cuLaunchKernel(
        new CUfunction { Pointer = function }, (uint)grid.X, (uint)grid.Y, (uint)grid.Z, (uint)threads, 1, 1, (uint)sharedBytes, On(stream), [argument], null);

    /// <inheritdoc/>
    public int StreamCreate(out nint stream)
    {
        CUstream made = default;
        int status = (int)Streams.cuStreamCreate(ref made, CUStreamFlags.NonBlocking);
        stream = made.Pointer;
        return status;
    }

    /// <inheritdoc/>
    public int StreamDestroy(nint stream) => (int)Streams.cuStreamDestroy_v2(On(stream));

    /// <inheritdoc/>
    public int StreamSynchronize(nint stream) => (int)Streams.cuStreamSynchronize(On(stream));

    /// <inheritdoc/>
    public int StreamBeginCapture(nint stream) => (int)Streams.cuStreamBeginCapture(On(stream), CUstreamCaptureMode.Relaxed);

    /// <inheritdoc/>
    public int StreamEndCapture(nint stream, out nint graph)
    {
        CUgraph made = default;
        int status = (int)Streams.cuStreamEndCapture(On(stream), ref made);
        graph = made.Pointer;
        return status;
    }

    /// <inheritdoc/>
    public int StreamWait(nint stream, nint @event) => (int)Streams.cuStreamWaitEvent(On(stream), Mark(@event), 0);

    /// <inheritdoc/>
    public int EventCreate(out nint @event, bool timed)
    {
        CUevent made = default;
        int status = (int)Events.cuEventCreate(ref made, timed ? CUEventFlags.Default : CUEventFlags.DisableTiming);
        @event = made.Pointer;
        return status;
    }

    /// <inheritdoc/>
    public int EventDestroy(nint @event) => (int)Events.cuEventDestroy_v2(Mark(@event));

    /// <inheritdoc/>
    public int EventRecord(nint @event, nint stream) => (int)Events.cuEventRecord(Mark(@event), On(stream));

    /// <inheritdoc/>
    public int EventSynchronize(nint @event) => (int)Events.cuEventSynchronize(Mark(@event));

    /// <inheritdoc/>
    public int EventElapsed(out float milliseconds, nint first, nint second)
    {
        milliseconds = 0;
        return (int)Events.cuEventElapsedTime(ref milliseconds, Mark(first), Mark(second));
    }

    /// <inheritdoc/>
    public int GraphDestroy(nint graph) => (int)Graphs.cuGraphDestroy(new CUgraph { Pointer = graph });

    /// <inheritdoc/>
    public int GraphNodes(out int count, nint graph)
    {
        SizeT nodes = 0;
        int status = (int)Graphs.cuGraphGetNodes(new CUgraph { Pointer = graph }, null!, ref nodes);
        count = (int)(ulong)nodes;
        return status;
    }

    /// <inheritdoc/>
    public int GraphInstantiate(out nint exec, nint graph)
    {
        CUgraphExec made = default;
        int status = (int)Graphs.cuGraphInstantiate(ref made, new CUgraph { Pointer = graph }, 0);
        exec = made.Pointer;
        return status;
    }

    /// <inheritdoc/>
    public int GraphExecDestroy(nint exec) => (int)Graphs.cuGraphExecDestroy(new CUgraphExec { Pointer = exec });

    /// <inheritdoc/>
    public int GraphLaunch(nint exec, nint stream) => (int)Graphs.cuGraphLaunch(new CUgraphExec { Pointer = exec }, On(stream));

    private static CUdevice Device(int device) => new() { Pointer = device };

    private static CUdeviceptr At(ulong address) => new() { Pointer = address };

    private static CUstream On(nint stream) => new() { Pointer = stream };

    private static CUevent Mark(nint @event) => new() { Pointer = @event };
}

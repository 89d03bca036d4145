namespace LowLevelSpec.Interop.Cuda;

/// <summary>
/// The part of the CUDA driver API that the engine calls, function by function, each returning the driver's result code. Behind it stands the driver's
/// library itself (<see cref="NativeCudaDriver"/>) or another binding of it. Handles are the driver's own; whoever calls owns them.
/// </summary>
internal interface ICudaDriver
{
    /// <summary>The library that answers, for messages.</summary>
    string Library { get; }

    int Initialize();

    int GetVersion(out int version);

    /// <summary>Name and text of a result code; "" where the driver knows none.</summary>
    (string Name, string Text) Describe(int status);

    int DeviceCount(out int count);

    int DeviceName(Span<byte> name, int device);

    int DeviceMemory(out nuint bytes, int device);

    int DeviceAttribute(out int value, int attribute, int device);

    int PrimaryContextRetain(out nint context, int device);

    int PrimaryContextRelease(int device);

    int ContextSetCurrent(nint context);

    int MemoryInfo(out nuint free, out nuint total);

    int MemoryAllocate(out ulong address, nuint bytes);

    int MemoryFree(ulong address);

    int HostAllocate(out nint memory, nuint bytes);

    int HostFree(nint memory);

    int CopyToDevice(ulong to, nint from, nuint bytes, nint stream);

    int CopyToHost(nint to, ulong from, nuint bytes, nint stream);

    int CopyOnDevice(ulong to, ulong from, nuint bytes, nint stream);

    int Fill8(ulong to, byte value, nuint count, nint stream);

    int ModuleLoad(out nint module, ReadOnlySpan<byte> image);

    int ModuleUnload(nint module);

    int ModuleFunction(out nint function, nint module, string name);

    int FunctionAttribute(out int value, int attribute, nint function);

    int SetFunctionAttribute(nint function, int attribute, int value);

    /// <summary>Starts a kernel that takes one argument, <paramref name="argument"/>, by value.</summary>
    int Launch(nint function, Grid grid, int threads, int sharedBytes, nint stream, nint argument);

    int StreamCreate(out nint stream);

    int StreamDestroy(nint stream);

    int StreamSynchronize(nint stream);

    int StreamBeginCapture(nint stream);

    int StreamEndCapture(nint stream, out nint graph);

    int StreamWait(nint stream, nint @event);

    int EventCreate(out nint @event, bool timed);

    int EventDestroy(nint @event);

    int EventRecord(nint @event, nint stream);

    int EventSynchronize(nint @event);

    int EventElapsed(out float milliseconds, nint first, nint second);

    int GraphDestroy(nint graph);

    int GraphNodes(out int count, nint graph);

    int GraphInstantiate(out nint exec, nint graph);

    int GraphExecDestroy(nint exec);

    int GraphLaunch(nint exec, nint stream);
}

/// <summary>Blocks of a launch.</summary>
internal readonly record struct Grid(int X, int Y = 1, int Z = 1);

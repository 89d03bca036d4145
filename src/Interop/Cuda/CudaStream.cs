namespace LowLevelSpec.Interop.Cuda;

/// <summary>A queue of the device's work. What is put in returns at once; <see cref="Synchronize"/> waits for all of it.</summary>
internal sealed class CudaStream : CudaHandle
{
    public CudaStream(CudaContext context)
        : base(context)
    {
        int status = Driver.StreamCreate(out nint stream);
        Adopt(stream, status, "create a stream");
    }

    /// <summary>Waits until all work is done.</summary>
    /// <exception cref="CudaException">Some of it failed.</exception>
    public void Synchronize() => Context.Check(Driver.StreamSynchronize(Value), "wait for the device");

    /// <summary>Copies from the host. The source must stay as it is until the copy is done, pinned memory or not.</summary>
    public void CopyToDevice(ulong to, nint from, long bytes)
    {
        if (bytes > 0)
        {
            int status = Driver.CopyToDevice(to, from, (nuint)bytes, Value);
            if (status != CudaStatus.Success)
            {
                Context.Check(status, $"copy {bytes} bytes to the device");
            }
        }
    }

    /// <summary>Copies to the host; there when the stream has come that far.</summary>
    public void CopyToHost(nint to, ulong from, long bytes)
    {
        if (bytes > 0)
        {
            int status = Driver.CopyToHost(to, from, (nuint)bytes, Value);
            if (status != CudaStatus.Success)
            {
                Context.Check(status, $"copy {bytes} bytes to the host");
            }
        }
    }

    /// <summary>Copies inside the device's memory; the ranges do not overlap.</summary>
    public void CopyOnDevice(ulong to, ulong from, long bytes)
    {
        if (bytes > 0)
        {
            int status = Driver.CopyOnDevice(to, from, (nuint)bytes, Value);
            if (status != CudaStatus.Success)
            {
                Context.Check(status, $"copy {bytes} bytes on the device");
            }
        }
    }

    /// <summary>Sets bytes to zero.</summary>
    public void Clear(ulong to, long bytes)
    {
        if (bytes > 0)
        {
            Context.Check(Driver.Fill8(to, 0, (nuint)bytes, Value), "clear device memory");
        }
    }

    /// <summary>Starts a kernel that takes one struct.</summary>
    /// <param name="function">The kernel.</param>
    /// <param name="grid">Blocks.</param>
    /// <param name="threads">Threads of a block.</param>
    /// <param name="sharedBytes">Dynamic shared memory of a block.</param>
    /// <param name="argument">Its argument, copied before this returns.</param>
    public unsafe void Launch<TArgument>(CudaFunction function, Grid grid, int threads, int sharedBytes, in TArgument argument)
        where TArgument : unmanaged
    {
        int status;
        fixed (TArgument* pointer = &argument)
        {
            status = Driver.Launch(function.Value, grid, threads, sharedBytes, Value, (nint)pointer);
        }

        if (status != CudaStatus.Success)
        {
            Context.Check(status, $"launch {function.Name} with {grid.X} x {grid.Y} x {grid.Z} blocks of {threads} threads and {sharedBytes} bytes of shared memory");
        }
    }

    /// <summary>From here on work is recorded instead of done.</summary>
    public void BeginCapture() => Context.Check(Driver.StreamBeginCapture(Value), "begin a capture");

    /// <summary>Ends the recording.</summary>
    /// <exception cref="CudaException">Something was recorded that can't be, e.g. a wait.</exception>
    public CudaGraph EndCapture() => new(this);

    /// <summary>Lets work that comes later wait for an event of another stream.</summary>
    public void Wait(CudaEvent @event) => Context.Check(Driver.StreamWait(Value, @event.Value), "let a stream wait for an event");

    /// <summary>Runs a recorded graph.</summary>
    public void Launch(CudaGraphExec graph) => Context.Check(Driver.GraphLaunch(graph.Value, Value), "launch a graph");

    /// <inheritdoc/>
    protected override int Free(ICudaDriver driver, nint value) => driver.StreamDestroy(value);
}

/// <summary>A point in a stream.</summary>
internal sealed class CudaEvent : CudaHandle
{
    /// <param name="context">Where.</param>
    /// <param name="timed">Whether <see cref="MillisecondsSince"/> is asked for.</param>
    public CudaEvent(CudaContext context, bool timed = false)
        : base(context)
    {
        int status = Driver.EventCreate(out nint made, timed);
        Adopt(made, status, "create an event");
    }

    /// <summary>Marks where the stream stands.</summary>
    public void Record(CudaStream stream) => Context.Check(Driver.EventRecord(Value, stream.Value), "record an event");

    /// <summary>Waits until the stream has come this far.</summary>
    public void Synchronize() => Context.Check(Driver.EventSynchronize(Value), "wait for an event");

    /// <summary>Milliseconds of the device between two events that have passed; both timed.</summary>
    public float MillisecondsSince(CudaEvent earlier)
    {
        Context.Check(Driver.EventElapsed(out float milliseconds, earlier.Value, Value), "measure the time between two events");
        return milliseconds;
    }

    /// <inheritdoc/>
    protected override int Free(ICudaDriver driver, nint value) => driver.EventDestroy(value);
}

/// <summary>Recorded work.</summary>
internal sealed class CudaGraph : CudaHandle
{
    internal CudaGraph(CudaStream stream)
        : base(stream.Context)
    {
        int status = Driver.StreamEndCapture(stream.Value, out nint graph);
        Adopt(graph, status, "end a capture");
    }

    /// <summary>Kernels and copies recorded.</summary>
    public int Nodes
    {
        get
        {
            Context.Check(Driver.GraphNodes(out int count, Value), "count a graph's nodes");
            return count;
        }
    }

    /// <summary>Makes it runnable.</summary>
    public CudaGraphExec Instantiate() => new(this);

    /// <inheritdoc/>
    protected override int Free(ICudaDriver driver, nint value) => driver.GraphDestroy(value);
}

/// <summary>Recorded work, ready to run any number of times.</summary>
internal sealed class CudaGraphExec : CudaHandle
{
    internal CudaGraphExec(CudaGraph graph)
        : base(graph.Context)
    {
        int status = Driver.GraphInstantiate(out nint exec, graph.Value);
        Adopt(exec, status, "instantiate a graph");
    }

    /// <inheritdoc/>
    protected override int Free(ICudaDriver driver, nint value) => driver.GraphExecDestroy(value);
}

namespace LowLevelSpec.Interop.Cuda;

/// <summary>Loaded device code.</summary>
internal sealed class CudaModule : CudaHandle
{
    /// <param name="context">Where.</param>
    /// <param name="image">A fatbin, a cubin or PTX with a zero behind it.</param>
    /// <exception cref="CudaException">The device can't run it.</exception>
    public CudaModule(CudaContext context, ReadOnlySpan<byte> image)
        : base(context)
    {
        int status = Driver.ModuleLoad(out nint module, image);
        Adopt(module, status, $"load {image.Length} bytes of device code for {context.Device.Name} (compute capability {context.Device.Major}.{context.Device.Minor})");
    }

    /// <summary>Finds a kernel and lets it use up to <paramref name="sharedBytes"/> bytes of dynamic shared memory.</summary>
    /// <exception cref="CudaException">The module has no such kernel.</exception>
    public CudaFunction Function(string name, int sharedBytes)
    {
        const int MaxDynamicShared = 8, PlainShared = 48 << 10;
        Context.Check(Driver.ModuleFunction(out nint function, Value, name), $"find kernel {name}");
        if (sharedBytes > PlainShared)
        {
            Context.Check(Driver.SetFunctionAttribute(function, MaxDynamicShared, sharedBytes), $"let kernel {name} use {sharedBytes} bytes of shared memory");
        }

        return new CudaFunction(this, function, name);
    }

    /// <inheritdoc/>
    protected override int Free(ICudaDriver driver, nint value) => driver.ModuleUnload(value);
}

/// <summary>A kernel of a module, which it keeps alive.</summary>
internal sealed class CudaFunction(CudaModule module, nint function, string name)
{
    /// <summary>Its name.</summary>
    public string Name { get; } = name;

    /// <summary>The driver's handle.</summary>
    /// <exception cref="ObjectDisposedException">The module is disposed.</exception>
    public nint Value
    {
        get
        {
            ObjectDisposedException.ThrowIf(module.IsDisposed, module);
            return function;
        }
    }
}

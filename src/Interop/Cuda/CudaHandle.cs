using System.Runtime.InteropServices;

namespace LowLevelSpec.Interop.Cuda;

/// <summary>A handle that knows whether it was disposed, also while what it owns keeps it open.</summary>
internal abstract class DisposableHandle() : SafeHandle(0, ownsHandle: true)
{
    /// <summary>Whether its owner is done with it.</summary>
    public bool IsDisposed { get; private set; }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        IsDisposed = true;
        base.Dispose(disposing);
    }
}

/// <summary>
/// Base of everything the driver hands out inside a context. Each holds its owner, so that disposal in any order, or none at all, frees each thing
/// exactly once and an owner only after what it owns: disposing a context with live memory in it closes the context when the memory goes.
/// </summary>
internal abstract class CudaHandle : DisposableHandle
{
    private readonly DisposableHandle _owner;

    /// <param name="context">The context it lives in.</param>
    /// <param name="owner">What has to outlive it, where that is not the context itself.</param>
    /// <exception cref="ObjectDisposedException">The owner is disposed.</exception>
    protected CudaHandle(CudaContext context, DisposableHandle? owner = null)
    {
        Context = context;
        _owner = owner ?? context;
        ObjectDisposedException.ThrowIf(_owner.IsDisposed, _owner);
        bool added = false;
        _owner.DangerousAddRef(ref added);
    }

    /// <summary>The context it lives in.</summary>
    public CudaContext Context { get; }

    /// <summary>The driver's handle.</summary>
    /// <exception cref="ObjectDisposedException">Disposed.</exception>
    public nint Value
    {
        get
        {
            ObjectDisposedException.ThrowIf(IsDisposed, this);
            return handle;
        }
    }

    /// <summary>Makes the context current on this thread and hands out its driver.</summary>
    protected ICudaDriver Driver => Context.Enter();

    /// <summary>Takes the handle that the driver made, or gives the owner back where it made none.</summary>
    /// <exception cref="CudaException"><paramref name="status"/> is an error.</exception>
    protected void Adopt(nint made, int status, string operation)
    {
        if (status != CudaStatus.Success)
        {
            GiveUp();
            Context.Check(status, operation);
        }

        SetHandle(made);
    }

    /// <summary>Gives the owner back where nothing was made.</summary>
    protected void GiveUp()
    {
        SetHandleAsInvalid();
        _owner.DangerousRelease();
    }

    /// <summary>Frees the driver's object; the context is current.</summary>
    protected abstract int Free(ICudaDriver driver, nint value);

    /// <inheritdoc/>
    protected sealed override bool ReleaseHandle()
    {
        int status = Free(Context.EnterToRelease(), handle);
        _owner.DangerousRelease();
        return status == CudaStatus.Success;
    }
}

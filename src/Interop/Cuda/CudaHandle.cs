using System.Runtime.InteropServices;

namespace LowLevelSpec.Interop.Cuda;

/// <summary>
/// Base of everything the driver hands out inside a context. Each holds its owner, so that disposal in any order, or none at all, frees each thing
/// exactly once and an owner only after what it owns: disposing a context with live memory in it closes the context when the memory goes.
/// </summary>
internal abstract class CudaHandle : SafeHandle
{
    private readonly SafeHandle _owner;

    /// <param name="context">The context it lives in.</param>
    /// <param name="owner">What has to outlive it, where that is not the context itself.</param>
    /// <exception cref="ObjectDisposedException">The owner is disposed.</exception>
    protected CudaHandle(CudaContext context, SafeHandle? owner = null)
        : base(0, ownsHandle: true)
    {
        Context = context;
        _owner = owner ?? context;
        bool added = false;
        _owner.DangerousAddRef(ref added);
    }

    /// <summary>The context it lives in.</summary>
    public CudaContext Context { get; }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <summary>The driver's handle.</summary>
    /// <exception cref="ObjectDisposedException">Disposed.</exception>
    public nint Value
    {
        get
        {
            ObjectDisposedException.ThrowIf(IsClosed, this);
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

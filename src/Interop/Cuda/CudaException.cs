namespace LowLevelSpec.Interop.Cuda;

/// <summary>A call of the CUDA driver or of cuBLAS failed. The one exception type of everything in this namespace.</summary>
public sealed class CudaException : Exception
{
    /// <summary>Creates the exception.</summary>
    /// <param name="operation">What was being done, with sizes, e.g. "allocate 4096 bytes for the logits".</param>
    /// <param name="name">Name of the error, e.g. CUDA_ERROR_OUT_OF_MEMORY.</param>
    /// <param name="code">Its number; 0 where no call was made.</param>
    /// <param name="text">What the library says about it.</param>
    public CudaException(string operation, string name, int code, string text)
        : base($"{operation}: {name} ({code}): {text}")
    {
        Operation = operation;
        Name = name;
        Code = code;
        Text = text;
    }

    /// <summary>What was being done.</summary>
    public string Operation { get; }

    /// <summary>Name of the error.</summary>
    public string Name { get; }

    /// <summary>Number of the error.</summary>
    public int Code { get; }

    /// <summary>What the library says about it.</summary>
    public string Text { get; }

    /// <summary>Whether the device's memory did not suffice.</summary>
    public bool IsOutOfMemory => Code == CudaStatus.OutOfMemory;
}

/// <summary>Results of driver calls that the code tells apart.</summary>
internal static class CudaStatus
{
    public const int Success = 0, InvalidValue = 1, OutOfMemory = 2, NotReady = 600;
}

using LowLevelSpec.Engine.Backends.Cuda;
using LowLevelSpec.Engine.Backends.Ilgpu;

namespace LowLevelSpec.Cli.Output;

/// <summary>What llspec found on this machine.</summary>
internal sealed record DoctorReport
{
    /// <summary>Operating system and architecture.</summary>
    public required string System { get; init; }

    /// <summary>.NET runtime.</summary>
    public required string Runtime { get; init; }

    /// <summary>Processor's name; null where the system doesn't tell.</summary>
    public required string? Processor { get; init; }

    /// <summary>Instruction sets the engine uses, and whether this process may.</summary>
    public required IReadOnlyDictionary<string, bool> CpuFeatures { get; init; }

    /// <summary>Cores the process may use.</summary>
    public required int Cores { get; init; }

    /// <summary>Threads the engine takes by default.</summary>
    public required int Threads { get; init; }

    /// <summary>Vector bits the engine takes by default; 32 = no vectors.</summary>
    public required int SimdBits { get; init; }

    /// <summary>Whether the native library of CPU kernels is in use, and why not.</summary>
    public required string NativeKernels { get; init; }

    /// <summary>Memory the process may use, in bytes.</summary>
    public required long MemoryBytes { get; init; }

    /// <summary>Whether a CUDA driver is installed.</summary>
    public required bool CudaDriver { get; init; }

    /// <summary>The driver's version, its devices, the kernels that this build carries, and why nothing can run there.</summary>
    public required CudaReport Cuda { get; init; }

    /// <summary>Devices that a drafter may run on (--drafter-device), the emulation last.</summary>
    public required IReadOnlyList<IlgpuDeviceInfo> DrafterDevices { get; init; }

    /// <summary>Models at hand.</summary>
    public required IReadOnlyList<string> Models { get; init; }

    /// <summary>What is missing and what to do about it.</summary>
    public required IReadOnlyList<string> Advice { get; init; }
}

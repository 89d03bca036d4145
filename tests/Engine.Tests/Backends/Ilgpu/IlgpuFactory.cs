using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Backends.Ilgpu;

namespace LowLevelSpec.Engine.Tests.Backends.Ilgpu;

/// <summary>The ILGPU backend on its CPU emulation, the last device of the list, with groups of a given number of threads.</summary>
public abstract class IlgpuFactory(int threadsPerGroup) : IBackendFactory
{
    /// <inheritdoc/>
    public string? SkipReason => null;

    /// <inheritdoc/>
    public bool IsEmulated => true;

    /// <summary>The emulation has its own threads; a backend is used by any number of callers.</summary>
    public IBackend Create(int threads) => IlgpuDevices.Open(IlgpuDevices.List().Single(static d => !d.IsGpu).Index, threadsPerGroup);

    /// <summary>A thread adds blocks of 16 products, then the tree over the threads.</summary>
    public int SumRoundings(int terms) => 16 + ((terms + 15) / 16) + 6;

    /// <summary>A thread adds blocks of 64 exponentials.</summary>
    public int ExponentialSumRoundings(int terms) => 64 + ((terms + 63) / 64) + 6;
}

/// <summary>One thread per group, as drafting on the emulation runs it.</summary>
public sealed class IlgpuSingle() : IlgpuFactory(1);

/// <summary>Groups of several threads, as on a GPU: shared memory and barriers count.</summary>
public sealed class IlgpuGroups() : IlgpuFactory(16);

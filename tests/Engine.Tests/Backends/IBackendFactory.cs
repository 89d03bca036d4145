using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Engine.Backends.Cpu;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Backends;

/// <summary>Makes the backend that a family of tests runs on.</summary>
public interface IBackendFactory
{
    /// <summary>Why it cannot run here, or null.</summary>
    string? SkipReason { get; }

    /// <summary>Creates a backend of <paramref name="threads"/> threads.</summary>
    IBackend Create(int threads);
}

/// <summary>The CPU backend of one width.</summary>
public abstract class CpuFactory(SimdWidth width) : IBackendFactory
{
    /// <inheritdoc/>
    public string? SkipReason => CpuBackend.IsSupported(width) ? null : $"this processor lacks vectors of width {width}";

    /// <inheritdoc/>
    public IBackend Create(int threads) => new CpuBackend(threads, width);
}

/// <summary>Scalar.</summary>
public sealed class CpuScalar() : CpuFactory(SimdWidth.Scalar);

/// <summary>128 bits.</summary>
public sealed class Cpu128() : CpuFactory(SimdWidth.Bits128);

/// <summary>256 bits.</summary>
public sealed class Cpu256() : CpuFactory(SimdWidth.Bits256);

/// <summary>512 bits.</summary>
public sealed class Cpu512() : CpuFactory(SimdWidth.Bits512);

/// <summary>Base of the tests that are written once and run on every backend.</summary>
public abstract class BackendTest<TFactory>
    where TFactory : IBackendFactory, new()
{
    private static readonly TFactory Factory = new();

    /// <summary>A backend with its test data, skipping the test where the backend cannot run.</summary>
    internal static Bench Start(int threads = 1)
    {
        Assert.SkipWhen(Factory.SkipReason is not null, Factory.SkipReason ?? "");
        return new Bench(Factory.Create(threads));
    }
}

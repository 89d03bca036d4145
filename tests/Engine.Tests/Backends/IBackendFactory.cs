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

    /// <summary>Whether it emulates a device, where a call costs a thousand times what it costs on the CPU: tests then take a sample of their cases.</summary>
    bool IsEmulated => false;

    /// <summary>Roundings in the longest chain of additions of a sum of products: on the CPU one per 16 in a lane, then the tree over the lanes.</summary>
    int SumRoundings(int terms) => ((terms + 15) / 16) + 6;

    /// <summary>The same for a row's exponentials: a lane of the CPU adds 64 of them, then the tree and the blocks.</summary>
    int ExponentialSumRoundings(int terms) => 70;

    /// <summary>Most entries of TopLogProbabilities.</summary>
    int MostTop => 64;

    /// <summary>What a KV cache keeps of a value.</summary>
    float Stored(float value) => value;
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
    private static readonly IBackendFactory Factory = new TFactory();

    /// <inheritdoc cref="IBackendFactory.IsEmulated"/>
    protected static bool IsEmulated => Factory.IsEmulated;

    /// <inheritdoc cref="IBackendFactory.SumRoundings"/>
    protected static int SumRoundings(int terms) => Factory.SumRoundings(terms);

    /// <inheritdoc cref="IBackendFactory.ExponentialSumRoundings"/>
    protected static int ExponentialSumRoundings(int terms) => Factory.ExponentialSumRoundings(terms);

    /// <inheritdoc cref="IBackendFactory.MostTop"/>
    protected static int MostTop => Factory.MostTop;

    /// <summary>What a KV cache keeps of values.</summary>
    protected static float[] Stored(float[] values) => [.. values.Select(Factory.Stored)];

    /// <summary>A backend with its test data, skipping the test where the backend cannot run.</summary>
    internal static Bench Start(int threads = 1)
    {
        Assert.SkipWhen(Factory.SkipReason is not null, Factory.SkipReason ?? "");
        return new Bench(Factory.Create(threads));
    }
}

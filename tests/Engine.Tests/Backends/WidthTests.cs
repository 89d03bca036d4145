using LowLevelSpec.Engine.Backends.Cpu;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Backends;

/// <summary>All vector widths of the CPU give the same bits.</summary>
public abstract class WidthTests<TFactory> : BackendTest<TFactory>
    where TFactory : CpuFactory, new()
{
    [Fact]
    public void Bits_are_those_of_scalar_arithmetic()
    {
        using Bench bench = Start(), reference = new(new CpuBackend(1, SimdWidth.Scalar));
        foreach ((Scenario scenario, Scenario scalar) in Scenario.All(bench, large: false).Zip(Scenario.All(reference, large: false)))
        {
            foreach (int n in (int[])[1, 2, 3, 4, 5, 6, 13])
            {
                Compare.SameBits(scalar.Run(0, n), scenario.Run(0, n), $"{scenario.Name}, {n} rows");
            }
        }
    }
}

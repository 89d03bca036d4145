using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Backends.Ilgpu;

/// <summary>Kernels whose threads share memory, in groups of 16 as a GPU would run them, against groups of one: other roundings, the same values.</summary>
public sealed class GroupTests
{
    [Fact]
    public void Groups_of_several_threads_agree_with_single_ones()
    {
        using Bench single = new(new IlgpuSingle().Create(1)), groups = new(new IlgpuGroups().Create(1));
        foreach ((Scenario expected, Scenario actual) in Cases(single).Zip(Cases(groups)))
        {
            float[] a = expected.Run(0, 2), b = actual.Run(0, 2);
            Assert.Equal(a.Length, b.Length);
            for (int i = 0; i < a.Length; i++)
            {
                // Sums of at most 96 terms of order 0.1 in another order: 100 units in the last place of a result of order 1.
                Assert.True(Math.Abs(a[i] - b[i]) <= 100 * Compare.Unit * Math.Max(1, Math.Abs(a[i])), $"{actual.Name}: element {i} is {b[i]:R}, expected {a[i]:R}");
            }
        }
    }

    private static IEnumerable<Scenario> Cases(Bench bench) => Scenario.All(bench, large: false)
        .Where(static s => s.Name is "RmsNorm" or "TopLogProbabilities and ArgMax" || s.Name.StartsWith("Attention", StringComparison.Ordinal)
            || s.Name == $"MatMul {TensorType.BF16} [37, 96]" || s.Name == $"MatMul {TensorType.Q8_0} [37, 96]");
}

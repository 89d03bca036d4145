using System.Globalization;

namespace LowLevelSpec.Engine.Tests.Backends;

/// <summary>Seeds of the kernel tests' inputs: fixed ones, shifted as a whole by <c>./build.sh test-kernel NAME --seed S</c> (LLSPEC_SEED).</summary>
internal static class Seeds
{
    // Seed 1 is what tests run with when nothing is said.
    private static readonly int _shift = int.TryParse(Environment.GetEnvironmentVariable("LLSPEC_SEED"), CultureInfo.InvariantCulture, out int seed) ? (seed - 1) * 7919 : 0;

    /// <summary>A test's own seed, shifted.</summary>
    public static int Of(int seed) => unchecked(seed + _shift);
}
